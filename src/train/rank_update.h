// RankUpdate: what ranks do with each other's gradients and weights around an update. Gradients are summed bucket by
// bucket while the backward pass still runs; each rank updates the part that it owns (ZeRO-1: Rajbhandari et al. 2020)
// and the new weights travel while the next forward pass begins. One rank has one bucket, and nothing travels.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "kernels/arena.h"
#include "src/dist/collective.h"
#include "src/model/parameters.h"
#include "src/optim/adamw.h"
#include "src/optim/zero1.h"
#include "src/train/piece.h"

namespace nll {

class RankUpdate {
 public:
  // Device memory of more than one rank.
  static ArenaPlan plan(std::int64_t ranks);

  // `buckets` in the order in which the backward pass completes them; the arenas are those of a run. With `sharded`
  // the optimizer owns this rank's parts, else everything, and gradients are gathered instead of weights.
  RankUpdate(std::vector<GradientBucket> buckets, bool sharded, Collective& collective, Device& device, Ops& ops,
             AdamWOptimizer& optimizer, Tensor weights, Tensor rounded, Tensor gradients);

  const std::vector<GradientBucket>& buckets() const { return buckets_; }
  // The gradients of bucket k are complete on this rank: their sum over ranks is started.
  void reduce(std::size_t k);
  // Queues the update of weights and rounded weights; with `record` as recorded work.
  void update(bool record);
  // What is queued from here on may read the weights of bucket k.
  void need(std::size_t k);
  // ... all weights.
  void settle();

 private:
  void share_guard();
  Tensor part(Tensor arena, const Bucket& bucket) const;

  std::vector<GradientBucket> buckets_;
  std::vector<Bucket> squares_;  // of each bucket, positions in the optimizer's sums of squares
  const bool sharded_;
  Collective& collective_;
  Device& device_;
  Ops& ops_;
  AdamWOptimizer& optimizer_;
  Tensor weights_, rounded_, gradients_;
  Bucket guards_;
  Arena guard_arena_;
  std::vector<std::uint8_t> travelling_;  // buckets whose new weights are on their way
  Piece squares_piece_, apply_piece_;
};

}  // namespace nll
