// The trainer: batch -> forward -> head and objective -> backward -> update -> report, until the schedule ends or
// somebody asks to stop. The loop itself is Trainer::run in trainer.cpp.
#pragma once
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/checkpoint/checkpoint.h"
#include "src/config/config.h"
#include "src/infer/generate.h"
#include "src/report/console.h"
#include "src/report/event_log.h"
#include "src/train/plan.h"
#include "src/train/run_folder.h"
#include "src/train/state.h"
#include "src/train/task.h"
#include "src/train/train_data.h"
#include "src/train/train_step.h"

namespace nll {

class Trainer {
 public:
  // Allocates the whole plan and loads or initialises the weights. `stop_requested` is asked once a micro-batch; the
  // machine's own sgemm rate is measured for `probe_seconds` (0: not, and no share of peak is shown).
  Trainer(const Config& config, const TrainPlan& plan, const TrainStart& start, TrainInputs inputs, Backend& backend,
          CheckpointStore& store, Console& console, std::function<bool()> stop_requested, double probe_seconds,
          Collective& collective);
  ~Trainer();

  // On several ranks all call this; what is said, logged and decided by a clock or a signal is so on all of them.
  // Trains until the schedule ends (Exit::done), `step_limit` more steps are done (Exit::done; 0: no limit), or a stop
  // is requested (Exit::stopped; state saved). Throws Error(diverged) after too many non-finite steps in a row.
  Exit run(std::int64_t step_limit);
  const TrainingState& state() const { return state_; }

 private:
  struct StepResult {
    StepOutcome outcome;
    float gradient_norm = 0;
    double seconds = 0;
    bool finite = true;
  };
  bool queue_step();         // the one after those that are queued; false: a stop was requested
  StepResult finish_step();  // the oldest that is queued
  // Whether something follows the step after which `step` are done that needs the weights as they are then.
  bool something_due(std::int64_t step) const;
  bool first_rank() const { return collective_.world().rank == 0; }
  void restore_task(const std::string& checkpoint);
  void record(const Event& event);  // in the metrics, which rank 0 writes
  void check_replicas_if_due();
  void report(const StepResult& result);
  void skip(const StepResult& result);
  void save();
  bool after_save();  // validation and sample when they are due; false: a stop was requested inside
  bool validate();
  void show_examples();
  bool sample();
  bool evaluation_due(std::int64_t step) const;
  bool save_due(std::int64_t step) const;
  bool sample_due(std::int64_t step) const;
  bool replica_check_due(std::int64_t step) const;

  Config config_;
  TrainPlan plan_;
  TrainingState state_;
  TrainInputs inputs_;
  TrainData& data_;
  Device& device_;
  Ops& ops_;
  CheckpointStore& store_;
  Console& console_;
  std::function<bool()> stop_requested_;
  Collective& collective_;

  ParameterTable table_;
  TrainStep step_;
  std::unique_ptr<Task> task_;
  std::unique_ptr<Generator> generator_;
  std::unique_ptr<EventLog> metrics_;                 // of rank 0
  std::chrono::steady_clock::time_point busy_since_;  // start of the oldest queued step, or end of the one before it
  std::int64_t saved_step_ = -1, validated_step_ = -1;
  double step_seconds_ = 0;  // smoothed, for rate and time left
  double peak_gflops_ = 0;   // a CPU's measured sgemm rate, a GPU's published peak; 0: unknown
  std::optional<HeldOutResult> last_validation_;
  std::map<std::string, double> shown_;  // the metrics of the line, as they were last known
  std::int64_t position_ = 0;            // in the data, of the next step to be queued
};

}  // namespace nll
