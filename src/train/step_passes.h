// StepPasses: what the device does of a step's micro-batches: forward, head, backward, and adding up gradients. It is
// queued ahead of the host and, on a GPU, replayed as recorded graphs: what changes from step to step goes through
// fixed device memory. Several ranks cut the passes where a bucket of gradients becomes complete or one of weights is
// needed (RankUpdate).
//   B sequences of a micro-batch, T context, N = B*T positions, m of them with a target
//
// Plain text has a target at every position, and all N go through the head. Batches of records mostly have few, and
// only those rows do; the head is then not part of a recording, since m changes.
#pragma once
#include <array>
#include <span>
#include <vector>

#include "src/config/config.h"
#include "src/dist/collective.h"
#include "src/model/gpt.h"
#include "src/model/head.h"
#include "src/objectives/objective.h"
#include "src/optim/adamw.h"
#include "src/train/chosen_rows.h"
#include "src/train/piece.h"
#include "src/train/plan.h"
#include "src/train/rank_update.h"
#include "src/train/scorer.h"

namespace nll {

// The arenas of a run's weights and gradients that the passes read and write.
struct PassTensors {
  GptTensors weights, gradients;
  Tensor gradient_arena;
  const Arena* tree = nullptr;  // partial sums of micro-batches; null or not planned: added one after the other
};

class StepPasses {
 public:
  // "batch": what is uploaded of a micro-batch.
  static ArenaPlan plan_inputs(const Config& config, std::int64_t sequences, std::int64_t context);

  // All references must outlive this.
  StepPasses(const Config& config, const TrainPlan& plan, const Objective& objective, Backend& backend,
             Collective& collective, const PassTensors& tensors, AdamWOptimizer& optimizer, RankUpdate& rank_update);

  // What follows is of this micro-batch, the `micro_batch`-th of optimizer step `step` on this rank. The batch must
  // live until the next begin().
  void begin(const Batch& batch, std::int64_t step, std::int64_t micro_batch);
  // Inputs other than those of the batch, for the same targets: (B,T).
  void replace_inputs(std::span<const std::int32_t> tokens);
  void forward();
  // After forward(): waits for it and says what the head and the scalar head found.
  TokenScores score();
  // After forward(), for coefficients (N,4) and, with a scalar head, its derivatives (N); on the last micro-batch the
  // sums over ranks are started as they become complete.
  void backward(std::span<const double> coefficients, std::span<const double> values);
  // What the head found in backward(), to be read by read_statistics() once the queue is done with it: page-locked
  // memory of statistics_bytes().
  void download_statistics(void* to);
  std::int64_t statistics_bytes() const { return head_.statistics_block().bytes(); }
  TokenScores read_statistics(const Batch& batch, const void* from) const;

  Head& head() { return head_; }

 private:
  // Host memory of one upload.
  struct Input {
    Buffer memory;
    std::uint64_t mark = 0;
  };
  void send(Tensor to, const void* from);
  void forward_part(std::size_t k);
  void train_head(Into into);
  void backward_part(std::size_t k, Into into);
  void find_nonfinite();
  void add_earlier(const Bucket& bucket);
  void keep_for_later();

  const bool graphs_, tree_, scaled_, choose_rows_, with_head_, with_values_, early_score_;
  const std::int64_t micro_batches_, positions_;  // of a step on this rank; N
  ModelConfig model_;
  Device& device_;
  Ops& ops_;
  Collective& collective_;
  PassTensors tensors_;
  AdamWOptimizer& optimizer_;
  RankUpdate& rank_update_;
  Gpt gpt_;
  Head head_;
  Arena input_arena_;
  Tensor token_ids_, targets_, rows_, coefficients_, values_, dvalues_, dropout_offset_;
  DropoutKey dropout_key_;
  std::vector<Piece> forward_, first_backward_, further_backward_;  // one a bucket
  std::array<Input, 2> inputs_;
  std::size_t next_input_ = 0;
  Input* input_ = nullptr;
  std::uint8_t* free_ = nullptr;  // of input_
  const Batch* batch_ = nullptr;
  ChosenRows chosen_;
  std::int64_t micro_batch_ = 0;
  bool scored_ = false;              // the head's statistics are those of this forward pass
  std::vector<std::uint8_t> block_;  // the statistics on the host
};

}  // namespace nll
