// THE LOOP. B sequences of a micro-batch, T context, N = B*T.
#include "src/train/trainer.h"

#include <fmt/format.h>

#include <cmath>

#include "kernels/machine.h"
#include "src/optim/schedule.h"
#include "src/train/checkpoint_texts.h"
#include "src/train/model_folder.h"
#include "src/train/moments.h"

namespace nll {

namespace {

using Clock = std::chrono::steady_clock;

// What a run learns from, counted.
std::pair<std::string, std::int64_t> counted(const char* name, const TokenDataset* text, const RecordDataset* records) {
  if (records != nullptr) return {fmt::format("{}_records", name), records->records()};
  return {fmt::format("{}_tokens", name), text != nullptr ? text->tokens() : 0};
}

}  // namespace

Trainer::Trainer(const Config& config, const TrainPlan& plan, const TrainStart& start, TrainInputs inputs,
                 Backend& backend, CheckpointStore& store, Console& console, std::function<bool()> stop_requested,
                 double probe_seconds, Collective& collective)
    : config_(config),
      plan_(plan),
      state_(start.state),
      inputs_(std::move(inputs)),
      data_(inputs_.data),
      device_(*backend.device),
      ops_(*backend.ops),
      store_(store),
      console_(console),
      stop_requested_(std::move(stop_requested)),
      collective_(collective),
      table_(ParameterTable::gpt2(config.model, config.objective.has_scalar_head())),
      step_(config, plan, table_, backend, collective),
      position_(start.state.samples) {
  if (data_.tokenizer) step_.set_end_of_text(data_.tokenizer->end_of_text());
  task_ = make_task({config_, plan_, inputs_, backend, collective_, console_, step_, stop_requested_}, position_);
  if (config.sample.every_steps > 0 && data_.tokenizer) {
    generator_ = std::make_unique<Generator>(config.model, config.head, ops_, device_, plan.numerics);
  }
  const std::uint64_t seed = static_cast<std::uint64_t>(config.run.seed);
  const std::string& source = start.checkpoint ? *start.checkpoint : inputs_.initial_weights;
  const Tensor weights = step_.master();
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
        AdamWOptimizer& optimizer = step_.optimizer();
        load_moments(folder, source, table_, device_, optimizer.first_moment(), optimizer.second_moment(),
                     optimizer.owned(), progress);
      });
      saved_step_ = state_.step;
    }
  }
  step_.round_weights();
  if (start.checkpoint) {
    UpdateState update = first_update_state(plan.numerics);
    update.updates = static_cast<std::int32_t>(state_.updates);
    // A run that computed in another type before begins its own loss scale.
    if (plan.numerics.compute == DType::f16 && state_.loss_scale > 0) {
      update.loss_scale = static_cast<float>(state_.loss_scale);
      update.good_updates = static_cast<std::int32_t>(state_.good_updates);
    }
    step_.optimizer().set_state(update);
  }
  state_.samples_per_step = plan.samples_per_step;
  state_.data_fingerprint = data_.fingerprint();
  if (start.checkpoint) restore_task(*start.checkpoint);
  const World& world = collective.world();
  if (first_rank())
    metrics_ = std::make_unique<EventLog>(config.run.directory + "/metrics.jsonl", state_.step,
                                          config.log.tensorboard ? config.run.directory + "/tensorboard" : "",
                                          [this](const std::string& line) { console_.warning(line); });
  // Of a GPU the published peak, so that the share is its MFU; of a CPU what it does at this moment.
  if (plan.numerics.gpu) {
    peak_gflops_ = peak_matmul_flops(device_.info(), plan.numerics.compute) * 1e-9;
  } else if (probe_seconds > 0) {
    peak_gflops_ = measure_sgemm_gflops(device_.info().threads, probe_seconds);
  }
  if (!collective.alone()) {
    // All ranks together are compared with all their devices together.
    ControlWord mine;
    mine.step = state_.step;
    mine.sums[0] = peak_gflops_;
    peak_gflops_ = collective.control(mine).sums[0];
  }
  record({start.checkpoint ? "resume" : "start",
          state_.step,
          state_.tokens,
          {{"device", device_.info().name},
           {"threads", std::int64_t{device_.info().threads}},
           {plan.numerics.gpu ? "peak_gflops" : "sgemm_gflops", peak_gflops_},
           {"ranks", std::int64_t{world.size}},
           {"parameters", plan_.parameters},
           {"memory_bytes", plan_.bytes()},
           {"flops_per_token", plan_.flops_per_token},
           counted("training", data_.train.get(), data_.records ? data_.records->train.get() : nullptr),
           counted("validation", data_.validation.get(), data_.records ? data_.records->validation.get() : nullptr)}});
}

Trainer::~Trainer() = default;

void Trainer::record(const Event& event) {
  if (metrics_) metrics_->append(event);
}

// What a source had begun and not finished when the checkpoint was saved.
void Trainer::restore_task(const std::string& checkpoint) {
  const CheckpointFolder folder(posix_file_ops(), checkpoint);
  if (folder.has(source_state_name)) task_->source().restore(folder.text(source_state_name), checkpoint);
}

Exit Trainer::run(std::int64_t step_limit) {
  const std::int64_t last =
      step_limit > 0 ? std::min(config_.schedule.steps, state_.step + step_limit) : config_.schedule.steps;
  // A resumed run repeats what follows a save (validation, sample): it may have been interrupted there.
  if (saved_step_ == state_.step && saved_step_ > 0 && !after_save()) return Exit::stopped;
  // A GPU has the next step queued while the host reads of this one, unless the weights of this one are needed.
  const std::int64_t ahead =
      device_.info().asynchronous && !task_->source().reads_weights() ? TrainStep::most_ahead : 1;
  bool stopped = false;
  while (state_.step < last) {
    while (!stopped && step_.ahead() < ahead && state_.step + step_.ahead() < last &&
           (step_.ahead() == 0 || !something_due(state_.step + step_.ahead()))) {
      stopped = !queue_step();
    }
    if (step_.ahead() == 0) break;
    const StepResult result = finish_step();
    report(result);
    if (!result.finite) skip(result);
    if (step_.ahead() > 0) continue;
    check_replicas_if_due();
    // Saved before it is evaluated: an interrupted evaluation loses nothing.
    if (state_.step == last || save_due(state_.step) || evaluation_due(state_.step)) save();
    if (!stopped) stopped = !after_save();
    if (stopped) break;
  }
  if (saved_step_ != state_.step && state_.step > 0) save();
  if (stopped) return Exit::stopped;
  Event end{"end", state_.step, state_.tokens, {{"seconds", state_.seconds}, {"skipped", state_.skipped}}};
  if (!collective_.alone()) end.values.emplace_back("bytes_sent", collective_.bytes_sent());
  record(end);
  return Exit::done;
}

bool Trainer::queue_step() {
  if (step_.ahead() == 0) busy_since_ = Clock::now();
  const std::int64_t step = state_.step + step_.ahead();
  StepData data;
  if (task_->source().reads_weights()) step_.settle();
  if (!task_->source().next(step, position_, data)) return false;
  const std::int64_t samples = data.samples;
  const double rate = learning_rate(config_.schedule, config_.optimizer.learning_rate, step);
  if (!step_.queue(step, rate, std::move(data), stop_requested_)) {
    task_->source().take_back();
    return false;
  }
  position_ += samples;
  return true;
}

Trainer::StepResult Trainer::finish_step() {
  StepResult result;
  result.outcome = step_.finish();
  const StepOutcome& outcome = result.outcome;
  result.gradient_norm = outcome.update.norm;
  result.finite = std::isfinite(result.gradient_norm);
  const Clock::time_point now = Clock::now();
  result.seconds = std::chrono::duration<double>(now - busy_since_).count();
  busy_since_ = now;

  state_.step += 1;
  state_.samples += outcome.samples;
  // Of text everything is a target.
  state_.tokens += config_.objective.of_records() ? outcome.counts.tokens : outcome.input_tokens;
  state_.seconds += result.seconds;
  state_.updates = outcome.update.updates;
  state_.loss_scale = static_cast<double>(outcome.update.loss_scale);
  state_.good_updates = outcome.update.good_updates;
  if (result.finite) {
    state_.skipped_in_a_row = 0;
  } else {
    state_.skipped += 1;
    state_.skipped_in_a_row += 1;
  }
  return result;
}

}  // namespace nll
