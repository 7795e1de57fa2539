// The folder of a run: whether it holds one, where a run in it begins, and what bad input must leave as it was.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>

#include "src/checkpoint/checkpoint.h"
#include "src/report/console.h"
#include "src/train/plan.h"
#include "src/train/run.h"
#include "src/train/state.h"

namespace nll {

// How a run begins: fresh, or from a checkpoint.
struct TrainStart {
  std::optional<std::string> checkpoint;  // folder to continue from
  TrainingState state;                    // of that checkpoint
};

bool holds_run(const std::string& run);
// The state of a checkpoint, after a check that its run was configured as `config` is.
TrainStart load_start(const std::string& checkpoint, const Config& config);
// The checkpoint to go on from, or nothing for a fresh start. `existing`: the folder held a run.
TrainStart decide_start(const RunRequest& request, const CheckpointStore& store, Console& console, bool existing);
// Replaces a text file in one step.
void write_text(const std::string& path, const std::string& text);
// Throws where not even one checkpoint fits on the disk, warns where those to be kept do not.
void check_disk(const std::string& run, const TrainPlan& plan, std::int64_t keep, Console& console);

// Takes back what a fresh run made in its folder, unless it got as far as training: bad input leaves nothing behind.
class FreshFolder {
 public:
  FreshFolder(std::string run, bool fresh)
      : run_(std::move(run)), fresh_(fresh), made_(fresh && !std::filesystem::exists(run_)) {}
  ~FreshFolder() {
    if (!fresh_) return;
    std::error_code ignored;
    for (const char* file : {"config.json", "metrics.jsonl", "run.lock"})
      std::filesystem::remove(run_ + "/" + file, ignored);
    std::filesystem::remove(run_ + "/checkpoints", ignored);  // only when it is empty
    if (made_) std::filesystem::remove(run_, ignored);
  }
  FreshFolder(const FreshFolder&) = delete;
  FreshFolder& operator=(const FreshFolder&) = delete;
  void keep() { fresh_ = false; }

 private:
  std::string run_;
  bool fresh_, made_;
};

}  // namespace nll
