// TrainStep: an optimizer step: its micro-batches are scored where the objective must see them first, weighed, and run
// through forward, head and backward; then the weights are updated. What the host learns of a step (loss, metrics,
// gradient norm, whether the update was skipped) it learns when that step is finished; the next one may be queued by
// then. Several ranks do a step together, each its part of the micro-batches.
#pragma once
#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "src/config/config.h"
#include "src/dist/collective.h"
#include "src/objectives/objective.h"
#include "src/optim/adamw.h"
#include "src/train/input_mixer.h"
#include "src/train/plan.h"
#include "src/train/rank_sums.h"
#include "src/train/rank_update.h"
#include "src/train/step_passes.h"
#include "src/train/step_source.h"

namespace nll {

// What a finished step says.
struct StepOutcome {
  StepSums sums;       // of all ranks; with the metrics of the step's source
  StepCounts counts;   // of all ranks
  UpdateState update;  // with the norm of the gradients; not finite: the update was skipped
  double learning_rate = 0;
  std::int64_t samples = 0;       // by which the position in the data moved
  std::int64_t input_tokens = 0;  // that were read, padding left out, of all ranks
};

class TrainStep {
 public:
  // Allocates what the plan says; weights and moments are zero until somebody fills them.
  TrainStep(const Config& config, const TrainPlan& plan, const ParameterTable& table, Backend& backend,
            Collective& collective);
  ~TrainStep();

  // Queues step `step` (counted from 0) on this rank's part of it. False: `stop_requested` said so on some rank before
  // the update was queued, and nothing of the step counts.
  bool queue(std::int64_t step, double learning_rate, StepData data, const std::function<bool()>& stop_requested);
  // Steps queued and not finished; `most_ahead` at most.
  std::int64_t ahead() const { return queued_ - finished_; }
  static constexpr std::int64_t most_ahead = 2;
  // Waits for the oldest of them.
  StepOutcome finish();
  // Weights that other ranks updated may still be on their way: call this before anything but queue() reads them.
  void settle() { rank_update_.settle(); }

  Tensor master() const { return weight_arena_[0]; }  // FP32 weights
  // After master() was filled: the copies that the model computes with.
  void round_weights();
  const GptTensors& weights() const { return weights_; }
  AdamWOptimizer& optimizer() { return optimizer_; }
  Head& head() { return passes_.head(); }
  const Objective& objective() const { return *objective_; }
  // Scheduled sampling: inputs that follow this id, and it itself, stay as they are; -1: there is none.
  void set_end_of_text(std::int32_t id) { end_of_text_ = id; }

 private:
  // A step that is queued.
  struct Flight {
    StepData data;
    StepTotals totals;
    std::vector<std::vector<double>> mismatched;  // of each micro-batch, where the objective needs them
    StepSums sums;                                // of this rank, where it was scored before it was weighed
    Buffer statistics;                            // (micro-batches, Head::block_rows, N), where it was not
    Buffer numbers;                               // Numbers
    std::int64_t step = 0;
    double learning_rate = 0;
    std::uint64_t mark = 0;
  };
  struct Numbers {
    float learning_rate = 0;
    UpdateState update;
  };
  bool agree_to_go_on(std::int64_t step, const std::function<bool()>& stop_requested, StepCounts* counts);
  bool score_mismatched(Flight& flight, const std::function<bool()>& stop_requested);
  void weigh(Flight& flight, const MicroBatch& part, std::size_t micro_batch);
  void mix_inputs(Flight& flight, const Batch& batch, std::int64_t micro_batch);
  void add_ranks(std::int64_t step, StepOutcome& outcome);

  const bool graphs_;
  const std::int64_t micro_batches_, positions_;  // of a step on this rank; N of a micro-batch
  Device& device_;
  Ops& ops_;
  Collective& collective_;
  Arena weight_arena_, rounded_arena_, gradient_arena_, tree_arena_;
  GptTensors weights_;
  AdamWOptimizer optimizer_;
  RankUpdate rank_update_;
  std::unique_ptr<Objective> objective_;
  const bool one_pass_;    // weighed without scores
  const bool mismatched_;  // compared with mismatched completions
  const bool values_;
  InputMixer mixer_;
  std::int32_t end_of_text_ = -1;
  StepPasses passes_;
  std::array<Flight, most_ahead> flights_;
  std::vector<double> coefficients_, dvalues_;  // of what was weighed last
  std::int64_t queued_ = 0, finished_ = 0;
};

}  // namespace nll
