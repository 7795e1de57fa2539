#include "src/train/run.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include "src/train/backend.h"
#include "src/train/checkpoint_texts.h"
#include "src/train/model_folder.h"
#include "src/train/trainer.h"

namespace nll {

namespace {

namespace fs = std::filesystem;

bool holds_run(const std::string& run) {
  for (const char* part : {"config.json", "metrics.jsonl", "checkpoints"}) {
    if (fs::exists(run + "/" + part)) return true;
  }
  return false;
}

// Keys that a resumed run may change: where things go and how often, and what a device can or cannot do (a run may move
// between CPU and GPU); never the model, the objective, the data order or the optimizer's rule.
bool may_change(const std::string& difference) {
  for (const char* section : {"run.directory:", "log.", "evaluation.", "checkpoint.", "sample.", "cpu.",
                              "device:", "cuda.", "precision.", "optimizer.moments:", "head.logits", "data.",
                              "run.initial_weights:", "head.chunk_tokens:", "batch.sequences:"}) {
    if (difference.starts_with(section)) return true;
  }
  return false;
}

void check_same_run(const Config& saved, const Config& asked, const std::string& folder) {
  for (const std::string& difference : differences(saved, asked)) {
    if (may_change(difference)) continue;
    throw Error(Exit::usage, fmt::format("{}: saved under another config ({})", folder, difference),
                "resume with the config of the run (its config.json), or start a new run in another run.directory");
  }
}

void write_text(const std::string& path, const std::string& text) {
  const std::string partial = path + ".tmp";
  std::ofstream out(partial, std::ios::binary | std::ios::trunc);
  out << text;
  out.close();
  std::error_code failed;
  if (out) fs::rename(partial, path, failed);
  if (!out || failed) throw Error(Exit::io, path + ": cannot be written");
}

TrainStart load_start(const std::string& checkpoint, const Config& config) {
  const CheckpointFolder folder(posix_file_ops(), checkpoint);
  if (!folder.has(state_name)) {
    throw Error(Exit::no_checkpoint, checkpoint + ": has weights but no training state to resume",
                "start a fresh run from these weights: --set run.initial_weights=" + checkpoint);
  }
  check_same_run(parse_config(folder.text(run_config_name), checkpoint + "/" + run_config_name, {}), config,
                 checkpoint);
  return {checkpoint, TrainingState::parse(folder.text(state_name), checkpoint + "/" + state_name)};
}

// The checkpoint to go on from, or nothing for a fresh start.
TrainStart decide_start(const RunRequest& request, const CheckpointStore& store, Console& console, bool existing) {
  if (request.resume == ResumePolicy::path) {
    // A folder made by a rename is complete, but its bytes may have rotted since: a checkpoint named by hand is checked
    // too.
    const std::string checkpoint = resolve_checkpoint(posix_file_ops(), request.resume_path,
                                                      [&](const std::string& folder, const std::string& why) {
                                                        console.warning(fmt::format("{}: skipped: {}", folder, why));
                                                      });
    const std::vector<std::string> findings = verify_checkpoint(posix_file_ops(), checkpoint);
    if (!findings.empty()) throw Error(Exit::no_checkpoint, checkpoint + ": " + findings.front());
    TrainStart start = load_start(checkpoint, request.config);
    const std::vector<std::int64_t> steps = store.steps();
    if (!steps.empty() && steps.back() > start.state.step) {
      throw Error(Exit::usage,
                  fmt::format("{}: holds checkpoints up to step {}, later than {}", request.config.run.directory,
                              steps.back(), checkpoint),
                  "give the new run its own folder: --set run.directory=NEW");
    }
    return start;
  }
  if (!existing) return {};
  const std::optional<std::int64_t> step = store.newest_intact([&](const std::string& folder, const std::string& why) {
    console.warning(fmt::format("{}: skipped: {}", folder, why));
  });
  if (!step) return {};
  return load_start(store.folder(*step), request.config);
}

// Takes back what a fresh run made in its folder, unless it got as far as training: bad input leaves nothing behind.
class FreshFolder {
 public:
  FreshFolder(std::string run, bool fresh) : run_(std::move(run)), fresh_(fresh), made_(fresh && !fs::exists(run_)) {}
  ~FreshFolder() {
    if (!fresh_) return;
    std::error_code ignored;
    for (const char* file : {"config.json", "metrics.jsonl", "run.lock"}) fs::remove(run_ + "/" + file, ignored);
    fs::remove(run_ + "/checkpoints", ignored);  // only when it is empty
    if (made_) fs::remove(run_, ignored);
  }
  FreshFolder(const FreshFolder&) = delete;
  FreshFolder& operator=(const FreshFolder&) = delete;
  void keep() { fresh_ = false; }

 private:
  std::string run_;
  bool fresh_, made_;
};

void check_disk(const std::string& run, const TrainPlan& plan, std::int64_t keep, Console& console) {
  const std::int64_t free = posix_file_ops().free_bytes(run), checkpoint = checked_product(plan.parameters, 12);
  if (free < 0) return;  // a file system that does not say
  if (free < checkpoint) {
    throw Error(
        Exit::resources,
        fmt::format("{}: one checkpoint needs {} and {} are free", run, human_bytes(checkpoint), human_bytes(free)),
        "free some space or move run.directory");
  }
  if (free / checkpoint < keep + 1) {
    console.warning(fmt::format("{}: {} are free, {} checkpoints of {} are to be kept", run, human_bytes(free), keep,
                                human_bytes(checkpoint)));
  }
}

}  // namespace

Exit run_training(const RunRequest& request, Console& console) {
  const Config& config = request.config;
  const std::string& run = config.run.directory;
  const bool existing = holds_run(run);
  if (existing && (request.resume == ResumePolicy::refuse || request.resume == ResumePolicy::never)) {
    throw Error(Exit::usage, fmt::format("{}: already holds a run, and nothing of it is overwritten", run),
                fmt::format("to go on with it: {}; for a new one: --set run.directory=NEW", request.resume_command));
  }
  TrainData data = open_train_data(config);
  const BackendOptions options = backend_options(config, request.cache_folder);
  Backend backend = make_backend(config.device, options);
  const DeviceInfo device = backend.device->info();
  if (device.kind == "cuda" && options.product_tuning && options.product_cache.empty()) {
    console.warning("cuda.product_cache: chosen algorithms are not kept, so another run may round differently");
  }
  const Numerics numerics = resolve_numerics(config, device);
  const TrainPlan plan = make_plan(config, 1, device.available_memory_bytes, numerics);
  check_memory(plan, device.available_memory_bytes);

  if (!existing && !config.run.initial_weights.empty()) {
    check_weights(CheckpointFolder(posix_file_ops(), config.run.initial_weights), config.run.initial_weights,
                  ParameterTable::gpt2(config.model));
  }

  FreshFolder folder(run, !existing);
  std::error_code failed;
  fs::create_directories(run, failed);
  if (failed) throw Error(Exit::io, fmt::format("{}: cannot be made: {}", run, failed.message()));
  const RunLock lock(run);
  CheckpointStore store(posix_file_ops(), run);
  const TrainStart start = decide_start(request, store, console, existing);
  if (start.checkpoint) {
    if (start.state.samples_per_step != plan.samples_per_step) {
      throw Error(Exit::usage, fmt::format("{}: saved with {} sequences a step, this config has {}", *start.checkpoint,
                                           start.state.samples_per_step, plan.samples_per_step));
    }
    if (start.state.data_fingerprint != data.train->fingerprint() && !config.data.allow_change) {
      throw Error(Exit::bad_data, fmt::format("data.train: is not the data of {}", *start.checkpoint),
                  "put the same token files back, or say --set data.allow_change=true");
    }
  }
  check_disk(run, plan, config.checkpoint.keep_last, console);
  write_text(run + "/config.json", dump_config(config));

  console.info(fmt::format("{}, {} memory", device.name, human_bytes(device.memory_bytes)));
  console.info(fmt::format("model: {} parameters, {} layers, {} heads, width {}, context {}, vocabulary {}",
                           human_count(static_cast<double>(plan.parameters)), config.model.layers, config.model.heads,
                           config.model.width, config.model.context, config.model.vocabulary));
  const double epoch = static_cast<double>(data.train->tokens());
  const double all = static_cast<double>(config.batch.tokens_per_step) * static_cast<double>(config.schedule.steps);
  console.info(fmt::format("data: {} training tokens, {} validation tokens; {} steps of {} tokens are {:.2f} epochs",
                           human_count(epoch),
                           human_count(data.validation ? static_cast<double>(data.validation->tokens()) : 0.0),
                           config.schedule.steps, config.batch.tokens_per_step, all / epoch));
  console.info(fmt::format("plan: {} of memory, micro-batches of {} x {} tokens, {} a step", human_bytes(plan.bytes()),
                           plan.sequences, config.model.context, plan.micro_batches));
  if (!data.validation) console.warning("no validation text: the loss on held-out text is not measured");
  if (start.checkpoint) {
    console.info(
        fmt::format("resuming {} at step {} of {}", *start.checkpoint, start.state.step, config.schedule.steps));
    if (start.state.step >= config.schedule.steps) console.info("the schedule is complete; nothing is left to train");
  }

  Trainer trainer(config, plan, start, std::move(data), backend, store, console, request.stop_requested,
                  request.probe_seconds);
  folder.keep();
  const Exit exit = trainer.run(request.step_limit);
  console.finish_live();
  const TrainingState& state = trainer.state();
  const bool complete = state.step >= config.schedule.steps;
  if (exit == Exit::stopped || !complete) {
    console.info(fmt::format("stopped at step {} of {}{}", state.step, config.schedule.steps,
                             state.step > 0 ? ", saved" : "; no step was complete, nothing to save"));
    console.info(fmt::format("to go on: {}", request.resume_command));
  } else {
    console.info(fmt::format("done: {} steps, {} tokens in {}; checkpoint {}", state.step,
                             human_count(static_cast<double>(state.tokens)), human_seconds(state.seconds),
                             store.folder(state.step)));
  }
  return exit;
}

}  // namespace nll
