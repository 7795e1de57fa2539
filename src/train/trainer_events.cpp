// What surrounds the loop's steps: reporting, saving, validating, sampling.
#include <fmt/format.h>

#include <cmath>

#include "src/dist/agreement.h"
#include "src/dist/patience.h"
#include "src/infer/stream.h"
#include "src/report/train_line.h"
#include "src/train/checkpoint_texts.h"
#include "src/train/model_folder.h"
#include "src/train/moments.h"
#include "src/train/rank_sums.h"
#include "src/train/replica_check.h"
#include "src/train/trainer.h"

namespace nll {

namespace {

double mean(double sum, std::int64_t count) { return count > 0 ? sum / static_cast<double>(count) : 0.0; }

}  // namespace

void Trainer::report(const StepResult& result) {
  const StepOutcome& outcome = result.outcome;
  const StepSums& sums = outcome.sums;
  const double tokens = static_cast<double>(outcome.input_tokens);
  // Smoothed over about ten steps, so that the rate and the time left do not jump.
  step_seconds_ = step_seconds_ == 0 ? result.seconds : 0.9 * step_seconds_ + 0.1 * result.seconds;
  const double nll = mean(sums.tokens.nll, sums.tokens.tokens);
  const bool has_tokens = sums.tokens.tokens > 0;  // a reward model predicts none
  if (state_.step % config_.log.every_steps == 0 || state_.step == config_.schedule.steps || !result.finite) {
    Event event{"train", state_.step, state_.tokens, {}};
    event.values = {{"loss", sums.loss}};
    if (has_tokens) {
      event.values.emplace_back("nll", nll);
      event.values.emplace_back("perplexity", std::exp(nll));
      // Of records "accuracy" is that of the objective.
      event.values.emplace_back(config_.objective.of_records() ? "mean_token_accuracy" : "accuracy",
                                mean(static_cast<double>(sums.tokens.correct), sums.tokens.tokens));
      event.values.emplace_back("entropy", mean(sums.tokens.entropy, sums.tokens.tokens));
    }
    event.values.emplace_back("learning_rate", outcome.learning_rate);
    event.values.emplace_back("gradient_norm", static_cast<double>(result.gradient_norm));
    event.values.emplace_back("tokens_per_second", tokens / result.seconds);
    event.values.emplace_back("seconds", result.seconds);
    if (plan_.numerics.compute == DType::f16) event.values.emplace_back("loss_scale", state_.loss_scale);
    for (const Metric& metric : sums.metrics.all()) {
      if (const auto value = metric.value()) event.values.emplace_back(metric.name(), *value);
    }
    record(event);
  }
  TrainLine line;
  line.step = state_.step;
  line.steps = config_.schedule.steps;
  line.loss = sums.loss;
  if (!config_.objective.of_records()) line.perplexity = std::exp(nll);
  for (const auto& [metric, name] : task_->shown()) {
    if (const auto value = sums.metrics.value(metric)) shown_[name] = *value;
    if (shown_.contains(name)) line.metrics.emplace_back(name, shown_[name]);
  }
  line.gradient_norm = result.gradient_norm;
  line.learning_rate = outcome.learning_rate;
  line.tokens_per_second = tokens / step_seconds_;
  if (peak_gflops_ > 0 && !config_.objective.of_records())
    line.share_of_peak = line.tokens_per_second * plan_.flops_per_token / (peak_gflops_ * 1e9);
  line.eta_seconds = static_cast<double>(config_.schedule.steps - state_.step) * step_seconds_;
  if (last_validation_) {
    line.validation_loss = last_validation_->loss;
    line.bits_per_byte = last_validation_->bits_per_byte;
  }
  console_.live(train_line(line));
  show_examples();
}

// Texts of a rollout, where samples are wanted.
void Trainer::show_examples() {
  const std::int64_t every = config_.sample.every_steps;
  if (every == 0 || state_.step % every != 0) return;
  const std::vector<std::string> examples = task_->examples();
  if (examples.empty()) return;
  console_.finish_live();
  for (const std::string& text : examples) {
    record({"sample", state_.step, state_.tokens, {{"text", text}}});
    console_.info(fmt::format("step {}: {}", state_.step, text));
  }
}

void Trainer::skip(const StepResult& result) {
  record({"skipped",
          state_.step,
          state_.tokens,
          {{"gradient_norm", static_cast<double>(result.gradient_norm)},
           {"first_sample", state_.samples - result.outcome.samples},
           {"in_a_row", state_.skipped_in_a_row}}});
  console_.warning(fmt::format("step {}: loss or gradient is not finite, the update was skipped ({} in a row)",
                               state_.step, state_.skipped_in_a_row));
  if (state_.skipped_in_a_row < config_.log.nonfinite_limit) return;
  const std::int64_t step = state_.step, in_a_row = state_.skipped_in_a_row;
  // What is queued behind it is done first: a checkpoint holds the weights of the step that it names.
  while (step_.ahead() > 0) report(finish_step());
  if (saved_step_ != state_.step) save();
  throw AgreedError(
      Exit::diverged,
      fmt::format("step {}: {} steps in a row had a loss or gradient that is not finite; the weights are those of the "
                  "last good step",
                  step, in_a_row),
      "a lower optimizer.learning_rate, a longer schedule.warmup_steps or a smaller optimizer.clip_norm usually helps");
}

void Trainer::save() {
  step_.settle();
  const Patience patience(collective_.transport());
  // Seconds, for a large model: say why the line stands still.
  const std::int64_t bytes = checked_product(plan_.parameters, 12);
  if (bytes > std::int64_t{256} << 20)
    console_.live(fmt::format("step {}: saving {}", state_.step, human_bytes(bytes)));
  const auto start = std::chrono::steady_clock::now();
  std::vector<Buffer> staging;
  CheckpointContent content;
  content.step = state_.step;
  // With moments on every rank each has all of them, and rank 0 writes them.
  if (first_rank()) content.weights = named_tensors(table_, device_, step_.master(), "", staging);
  if (first_rank() || plan_.sharded) {
    AdamWOptimizer& optimizer = step_.optimizer();
    content.optimizer =
        moment_slices(table_, device_, optimizer.first_moment(), optimizer.second_moment(), optimizer.owned(), staging);
  }
  content.texts = checkpoint_texts(config_, state_, data_.tokenizer ? &*data_.tokenizer : nullptr);
  content.manifest = {{"device", device_.info().name},
                      {"threads", std::to_string(device_.info().threads)},
                      {"data_fingerprint", fmt::format("{:016x}", state_.data_fingerprint)}};
  if (const std::string source = task_->source().state(); !source.empty()) content.texts[source_state_name] = source;
  const std::string folder = store_.save(content, collective_);
  saved_step_ = state_.step;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  record({"checkpoint", state_.step, state_.tokens, {{"folder", folder}, {"seconds", seconds}}});
  KeepRules rules{config_.checkpoint.keep_last, config_.checkpoint.keep_every, std::nullopt};
  if (config_.checkpoint.keep_best && state_.best_step >= 0) rules.best_step = state_.best_step;
  for (const std::string& problem : store_.prune(rules)) console_.warning(problem);
  collective_.barrier("the end of a save");
}

bool Trainer::evaluation_due(std::int64_t step) const {
  if (!task_->can_evaluate()) return false;
  const std::int64_t every = config_.evaluation.every_steps;
  return step == config_.schedule.steps || (every > 0 && step % every == 0);
}

bool Trainer::save_due(std::int64_t step) const {
  const std::int64_t every = config_.checkpoint.every_steps;
  return every > 0 && step % every == 0;
}

bool Trainer::sample_due(std::int64_t step) const {
  const std::int64_t every = config_.sample.every_steps;
  // A rollout has examples of its own.
  return generator_ && every > 0 && step % every == 0 && !config_.objective.of_rollouts();
}

bool Trainer::something_due(std::int64_t step) const {
  return save_due(step) || evaluation_due(step) || sample_due(step) || replica_check_due(step);
}

bool Trainer::replica_check_due(std::int64_t step) const {
  const std::int64_t every = config_.dist.check_replicas_every;
  return !collective_.alone() && every > 0 && step % every == 0;
}

void Trainer::check_replicas_if_due() {
  if (!replica_check_due(state_.step)) return;
  step_.settle();
  check_replicas(collective_, device_, step_.master(), state_.step);
}

bool Trainer::after_save() {
  if (evaluation_due(state_.step) && validated_step_ != state_.step && !validate()) return false;
  if (!sample_due(state_.step)) return true;
  step_.settle();
  // Rank 0 samples; the others wait for it.
  const Patience patience(collective_.transport());
  return all_go_on(collective_, !first_rank() || sample());
}

bool Trainer::validate() {
  step_.settle();
  const Patience patience(collective_.transport());
  const std::optional<HeldOutResult> verdict = task_->evaluate();
  if (!verdict) return false;
  validated_step_ = state_.step;
  last_validation_ = verdict;
  Event event{"validation", state_.step, state_.tokens, verdict->values};
  record(event);
  const bool best = verdict->loss < state_.best_loss;
  if (best) {
    state_.best_loss = verdict->loss;
    state_.best_step = state_.step;
  }
  console_.finish_live();
  console_.info(fmt::format("step {}: {}{}", state_.step, verdict->line, best ? "  (best)" : ""));
  if (first_rank()) {
    write_loss_plot(read_metrics(config_.run.directory + "/metrics.jsonl"), config_.run.directory,
                    config_.run.directory + "/loss.svg");
  }
  collective_.barrier("the end of a validation");
  return true;
}

bool Trainer::sample() {
  GenerationRequest request;
  // A document begins after the end of the one before it.
  if (data_.tokenizer->end_of_text() >= 0) request.prompt.push_back(data_.tokenizer->end_of_text());
  for (std::int32_t id : data_.tokenizer->encode(config_.sample.prompt)) request.prompt.push_back(id);
  if (request.prompt.empty()) request.prompt.push_back(0);
  request.rules.temperature = config_.sample.temperature;
  request.rules.top_k = config_.sample.top_k;
  request.rules.top_p = config_.sample.top_p;
  request.max_tokens = config_.sample.tokens;
  request.vocabulary = data_.tokenizer->vocabulary();
  request.seed = static_cast<std::uint64_t>(config_.run.seed + state_.step);
  request.end_of_text = data_.tokenizer->end_of_text();
  std::vector<std::int32_t> ids;
  const StopReason reason = generator_->generate(step_.weights(), request, [&](std::int32_t id, double) {
    ids.push_back(id);
    return !stop_requested_();
  });
  if (reason == StopReason::asked) return false;
  const std::string text = config_.sample.prompt + data_.tokenizer->decode(ids);
  record({"sample", state_.step, state_.tokens, {{"text", text}}});
  console_.finish_live();
  console_.info(fmt::format("step {}: sample\n{}", state_.step, text));
  return true;
}

}  // namespace nll
