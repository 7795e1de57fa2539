// THE LOOP. B sequences of a micro-batch, T context, N = B*T.
#include "src/train/trainer.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "kernels/machine.h"
#include "src/optim/schedule.h"
#include "src/train/model_folder.h"

namespace nll {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

ArenaPlan named(const TrainPlan& plan, const char* name) {
  for (const ArenaPlan& arena : plan.arenas) {
    if (arena.name() == name) return arena;
  }
  throw std::logic_error(std::string("the plan has no arena ") + name);
}

}  // namespace

Trainer::Trainer(const Config& config, const TrainPlan& plan, const TrainStart& start, TrainData data, Backend& backend,
                 CheckpointStore& store, Console& console, std::function<bool()> stop_requested, double probe_seconds)
    : config_(config),
      plan_(plan),
      state_(start.state),
      data_(std::move(data)),
      device_(*backend.device),
      ops_(*backend.ops),
      store_(store),
      console_(console),
      stop_requested_(std::move(stop_requested)),
      table_(ParameterTable::gpt2(config.model)),
      weight_arena_(device_, named(plan, "weights")),
      gradient_arena_(device_, named(plan, "gradients")),
      input_arena_(device_, named(plan, "batch")),
      evaluation_arena_(device_, named(plan, "evaluation batch")),
      weights_(gpt_views(table_, config.model, weight_arena_[0])),
      gradients_(gpt_views(table_, config.model, gradient_arena_[0])),
      optimizer_(config.optimizer, table_, ops_, device_),
      gpt_(config.model, ops_, device_, plan.sequences, config.model.context, Pass::training),
      evaluation_gpt_(config.model, ops_, device_, plan.sequences, config.model.context, Pass::inference),
      head_(config.model, config.head, ops_, device_, plan.sequences * config.model.context),
      objective_(make_objective(config.objective)) {
  const std::size_t N = static_cast<std::size_t>(plan.sequences * config.model.context);
  coefficients_.resize(4 * N);
  for (auto& values : scored_) values.resize(N);
  scored_argmax_.resize(N);
  if (config.sample.every_steps > 0 && data_.tokenizer) {
    generator_ = std::make_unique<Generator>(config.model, config.head, ops_, device_);
  }
  const std::uint64_t seed = static_cast<std::uint64_t>(config.run.seed);
  const std::string& source = start.checkpoint ? *start.checkpoint : config.run.initial_weights;
  const Tensor weights = weight_arena_[0];
  const auto shown = [&](const char* what, const std::function<void(const ParameterProgress&)>& work) {
    Job job(console_, what, "parameters");
    work([&](std::int64_t done, std::int64_t total) { job.update(done, total); });
    job.finish();
  };
  if (source.empty()) {
    shown("drawing weights", [&](const auto& progress) { initialize(table_, seed, device_, weights, progress); });
  } else {
    const CheckpointFolder folder(posix_file_ops(), source);
    shown("loading weights",
          [&](const auto& progress) { load_weights(folder, source, table_, device_, weights, progress); });
    if (start.checkpoint) {
      shown("loading moments", [&](const auto& progress) {
        load_moments(folder, source, table_, device_, optimizer_.first_moment(), optimizer_.second_moment(), progress);
      });
      saved_step_ = state_.step;
    }
  }
  state_.samples_per_step = plan.samples_per_step;
  state_.data_fingerprint = data_.train->fingerprint();
  loader_ = std::make_unique<Loader>(*data_.train, seed, state_.samples, plan.samples_per_step, plan.sequences);
  const std::string metrics = config.run.directory + "/metrics.jsonl";
  metrics_ = std::make_unique<MetricsFile>(metrics, state_.step);
  if (probe_seconds > 0) peak_gflops_ = measure_sgemm_gflops(device_.info().threads, probe_seconds);
  metrics_->append({start.checkpoint ? "resume" : "start",
                    state_.step,
                    state_.tokens,
                    {{"device", device_.info().name},
                     {"threads", std::int64_t{device_.info().threads}},
                     {"sgemm_gflops", peak_gflops_},
                     {"parameters", plan_.parameters},
                     {"memory_bytes", plan_.bytes()},
                     {"flops_per_token", plan_.flops_per_token},
                     {"training_tokens", data_.train->tokens()},
                     {"validation_tokens", data_.validation ? data_.validation->tokens() : std::int64_t{0}}}});
}

Trainer::~Trainer() = default;

Exit Trainer::run(std::int64_t step_limit) {
  const std::int64_t last =
      step_limit > 0 ? std::min(config_.schedule.steps, state_.step + step_limit) : config_.schedule.steps;
  // A resumed run repeats what follows a save (validation, sample): it may have been interrupted there.
  if (saved_step_ == state_.step && saved_step_ > 0 && !after_save()) return Exit::stopped;
  while (state_.step < last) {
    const std::optional<StepResult> result = step();
    if (!result) {
      if (state_.step > 0 && saved_step_ != state_.step) save();
      return Exit::stopped;
    }
    report(*result);
    if (!result->finite) skip(*result);
    const std::int64_t every = config_.checkpoint.every_steps;
    const bool save_due = (every > 0 && state_.step % every == 0) || state_.step == last;
    // Saved before it is evaluated: an interrupted evaluation loses nothing.
    if (save_due || evaluation_due()) save();
    if (!after_save()) {
      if (saved_step_ != state_.step) save();
      return Exit::stopped;
    }
  }
  if (saved_step_ != state_.step && state_.step > 0) save();
  metrics_->append({"end", state_.step, state_.tokens, {{"seconds", state_.seconds}, {"skipped", state_.skipped}}});
  return Exit::done;
}

std::optional<Trainer::StepResult> Trainer::step() {
  const Clock::time_point start = Clock::now();
  const std::int64_t B = plan_.sequences, T = config_.model.context, N = B * T;
  std::vector<Batch> batches;
  std::int64_t valid = 0;
  for (std::int64_t i = 0; i < plan_.micro_batches; ++i) {
    batches.push_back(loader_->next());
    valid += batches.back().valid_tokens();
  }
  StepResult result;
  for (std::int64_t i = 0; i < plan_.micro_batches; ++i) {
    if (stop_requested_()) {
      // Nothing of a half-done step is kept: the state, and with it the data order, is that of the last whole step.
      return std::nullopt;
    }
    const Batch& batch = batches[i];
    const Tensor tokens = input_arena_[0], targets = input_arena_[1].reshape({N}), coefficients = input_arena_[2];
    device_.upload(tokens, batch.tokens.data());
    device_.upload(targets, batch.targets.data());
    const DropoutKey key{static_cast<std::uint64_t>(config_.run.seed), state_.step, i * N};
    const Tensor hidden = gpt_.forward(weights_, tokens, &key);
    ScoredTokens scored;
    if (!objective_->one_pass()) scored = download(head_.score(hidden, targets, weights_.wte, false), batch);
    objective_->coefficients(batch, scored, valid, coefficients_);
    device_.upload(coefficients, coefficients_.data());
    const Into into = i == 0 ? Into::write : Into::add;
    const TokenStatistics statistics =
        head_.train(gpt_.dhidden(), gradients_.wte, into, hidden, targets, coefficients, weights_.wte);
    gpt_.backward(weights_, gradients_, into, gpt_.dhidden());
    result.sums += objective_->sums(download(statistics, batch));
  }
  result.learning_rate = learning_rate(config_.schedule, config_.optimizer.learning_rate, state_.step);
  // A loss that is not finite can come with gradients that are: neither may reach the weights.
  result.gradient_norm = std::numeric_limits<float>::quiet_NaN();
  if (std::isfinite(result.sums.objective)) {
    result.gradient_norm =
        optimizer_.step(weight_arena_[0], gradient_arena_[0], result.learning_rate, state_.updates + 1);
  }
  result.finite = std::isfinite(result.gradient_norm);
  result.seconds = seconds_since(start);

  state_.step += 1;
  state_.samples += plan_.samples_per_step;
  state_.tokens += plan_.samples_per_step * T;
  state_.seconds += result.seconds;
  if (result.finite) {
    state_.updates += 1;
    state_.skipped_in_a_row = 0;
  } else {
    state_.skipped += 1;
    state_.skipped_in_a_row += 1;
  }
  return result;
}

ScoredTokens Trainer::download(const TokenStatistics& statistics, const Batch& batch) {
  const Tensor* sources[] = {&statistics.logp, &statistics.maximum, &statistics.log_denominator, &statistics.entropy,
                             &statistics.mean_logp};
  for (int i = 0; i < 5; ++i) device_.download(scored_[i].data(), *sources[i]);
  device_.download(scored_argmax_.data(), statistics.argmax);
  return {batch.targets, scored_[0], scored_[1], scored_[2], scored_[3], scored_[4], scored_argmax_};
}

}  // namespace nll
