// TrainStep: what the device does of a training step: forward, head, backward for each micro-batch, then the update. It
// is queued ahead of the host and, on a GPU, replayed as recorded graphs: the numbers that change from step to step go
// through fixed device memory. What the host learns of a step (losses, gradient norm, whether the update was skipped)
// it learns when that step is finished. Several ranks do a step together, each its part of the micro-batches; the
// passes are cut where a bucket of gradients becomes complete or one of weights is needed (RankUpdate).
#pragma once
#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "src/config/config.h"
#include "src/dist/collective.h"
#include "src/model/gpt.h"
#include "src/model/head.h"
#include "src/objectives/objective.h"
#include "src/optim/adamw.h"
#include "src/train/piece.h"
#include "src/train/plan.h"
#include "src/train/rank_update.h"

namespace nll {

// What a finished step says.
struct StepOutcome {
  ObjectiveSums sums;  // of all ranks
  UpdateState update;  // with the norm of the gradients; not finite: the update was skipped
  double learning_rate = 0;
};

class TrainStep {
 public:
  // Allocates what the plan says; weights and moments are zero until somebody fills them.
  TrainStep(const Config& config, const TrainPlan& plan, const ParameterTable& table, Backend& backend,
            Collective& collective);
  ~TrainStep();

  // Queues step `step` (counted from 0): `next` gives the micro-batches of this rank. False: `stop_requested` said so
  // on some rank before the update was queued, and nothing of the step counts.
  bool queue(std::int64_t step, double learning_rate, const std::function<Batch()>& next,
             const std::function<bool()>& stop_requested);
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
  Head& head() { return head_; }

 private:
  // Host memory of one upload.
  struct Input {
    Buffer memory;
    std::uint64_t mark = 0;
  };
  // A step that is queued.
  struct Flight {
    std::vector<Batch> batches;
    Buffer statistics;  // (micro-batches, Head::block_rows, N)
    Buffer numbers;     // Numbers
    std::int64_t step = 0;
    double learning_rate = 0;
    std::uint64_t mark = 0;
  };
  struct Numbers {
    float learning_rate = 0;
    UpdateState update;
  };
  bool agree_to_go_on(std::int64_t step, const std::function<bool()>& stop_requested, std::int64_t& valid_tokens);
  void upload(Input& input, const Batch& batch, std::int64_t step, std::int64_t micro_batch);
  void forward();
  void forward_part(std::size_t k);
  void backward(std::int64_t micro_batch);
  void backward_part(std::size_t k, Into into);
  void add_earlier(std::int64_t micro_batch, const Bucket& bucket);
  void keep_for_later(std::int64_t micro_batch);
  void add_ranks(std::int64_t step, ObjectiveSums& sums);
  ScoredTokens scored(const Batch& batch, const void* block) const;

  const bool graphs_, tree_;
  const bool scaled_;                          // gradients carry a loss scale
  const std::int64_t micro_batches_, tokens_;  // of a step; N of a micro-batch
  ModelConfig model_;
  Device& device_;
  Ops& ops_;
  Collective& collective_;
  Arena weight_arena_, rounded_arena_, gradient_arena_, tree_arena_, input_arena_;
  GptTensors weights_, gradients_;
  AdamWOptimizer optimizer_;
  RankUpdate rank_update_;
  Gpt gpt_;
  Head head_;
  std::unique_ptr<Objective> objective_;
  Tensor token_ids_, targets_, coefficients_, dropout_offset_;
  DropoutKey dropout_key_;
  std::vector<Piece> forward_, first_backward_, further_backward_;  // one a bucket
  std::array<Input, 2> inputs_;
  std::array<Flight, most_ahead> flights_;
  std::vector<std::uint8_t> scored_;  // the statistics that an objective's coefficients wait for
  std::int64_t queued_ = 0, finished_ = 0;
  std::size_t next_input_ = 0;
};

}  // namespace nll
