// Task: what a run learns from and what it is judged by: the data of its optimizer steps, and its evaluation on data
// that was held out. Plain text, records, or rollouts of the model.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "src/report/console.h"
#include "src/report/event.h"
#include "src/train/backend.h"
#include "src/train/plan.h"
#include "src/train/step_source.h"
#include "src/train/train_data.h"
#include "src/train/train_step.h"

namespace nll {

// What an evaluation found, the same on all ranks.
struct HeldOutResult {
  double loss = 0;                                    // less is better
  std::optional<double> bits_per_byte;                // of text
  std::vector<std::pair<std::string, Value>> values;  // of the "validation" event
  std::string line;                                   // for people, without the step
};

class Task {
 public:
  virtual ~Task() = default;
  virtual StepSource& source() = 0;
  virtual bool can_evaluate() const = 0;
  // On all ranks, under the weights of the step, which are settled. None: a stop was requested on some rank.
  virtual std::optional<HeldOutResult> evaluate() = 0;
  // Of the metrics of a step, the names of those that the line of a step shows, and what it calls them.
  virtual std::vector<std::pair<std::string, std::string>> shown() const { return {}; }
  // Texts with their rewards that were sampled for the last step, if any: for a sample event.
  virtual std::vector<std::string> examples() const { return {}; }
};

// What a task works with; everything must outlive it.
struct TaskContext {
  const Config& config;
  const TrainPlan& plan;
  const TrainInputs& inputs;
  Backend& backend;
  Collective& collective;
  Console& console;
  TrainStep& step;
  std::function<bool()> stop_requested;
};

// The task of config.objective, whose data begin at `position`. Where the objective compares with a reference model,
// that is read here: by way of the weights of `step`, which are filled afterwards. Throws Error(stopped) where a stop
// was requested meanwhile.
std::unique_ptr<Task> make_task(const TaskContext& context, std::int64_t position);
std::unique_ptr<Task> make_text_task(const TaskContext& context, std::int64_t position);
std::unique_ptr<Task> make_record_task(const TaskContext& context);
std::unique_ptr<Task> make_rollout_task(const TaskContext& context);

}  // namespace nll
