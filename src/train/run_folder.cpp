#include "src/train/run_folder.h"

#include <fmt/format.h>

#include <fstream>

#include "src/train/checkpoint_texts.h"

namespace nll {

namespace {

namespace fs = std::filesystem;

// Keys that a resumed run may change: where things go and how often, and what a device can or cannot do (a run may move
// between CPU and GPU); never the model, the objective, the data order or the optimizer's rule.
bool may_change(const std::string& difference) {
  for (const char* section : {"run.directory:", "log.", "evaluation.", "checkpoint.", "sample.", "cpu.",
                              "device:", "cuda.", "dist.", "precision.", "optimizer.moments:", "head.logits", "data.",
                              "run.initial_weights:", "head.chunk_tokens:", "batch.sequences:", "batch.recompute:"}) {
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

}  // namespace

bool holds_run(const std::string& run) {
  for (const char* part : {"config.json", "metrics.jsonl", "checkpoints"}) {
    if (fs::exists(run + "/" + part)) return true;
  }
  return false;
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

}  // namespace nll
