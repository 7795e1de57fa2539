#include "src/train/rank_update.h"

#include <utility>

namespace nll {

ArenaPlan RankUpdate::plan(std::int64_t ranks) {
  ArenaPlan plan("guards");
  plan.add("guards", DType::f32, {ranks});
  return plan;
}

RankUpdate::RankUpdate(std::vector<GradientBucket> buckets, bool sharded, Collective& collective, Device& device,
                       Ops& ops, AdamWOptimizer& optimizer, Tensor weights, Tensor rounded, Tensor gradients)
    : buckets_(std::move(buckets)),
      sharded_(sharded),
      collective_(collective),
      device_(device),
      ops_(ops),
      optimizer_(optimizer),
      weights_(weights),
      rounded_(rounded),
      gradients_(gradients),
      travelling_(buckets_.size(), 0) {
  for (const GradientBucket& bucket : buckets_) squares_.push_back(squares_bucket(bucket.bucket));
  if (!collective.alone()) guard_arena_ = Arena(device, plan(collective.world().size));
  guards_.index = static_cast<std::int64_t>(buckets_.size());
  for (int r = 0; r <= collective.world().size; ++r) guards_.cuts.push_back(r);
}

Tensor RankUpdate::part(Tensor arena, const Bucket& bucket) const { return arena.slice(bucket.begin(), bucket.size()); }

void RankUpdate::reduce(std::size_t k) { collective_.start_reduce(gradients_, buckets_[k].bucket); }

// A loss that is not finite on one rank is one on all.
void RankUpdate::share_guard() {
  if (collective_.alone()) return;
  const Tensor guards = guard_arena_[0];
  device_.copy(guards.slice(collective_.world().rank, 1), optimizer_.guard());
  collective_.start_gather(guards, guards_);
  collective_.finish_gather(guards_);
  ops_.find_nonfinite(optimizer_.guard(), Into::write, guards);
}

void RankUpdate::update(bool record) {
  for (const GradientBucket& bucket : buckets_) collective_.finish_reduce(bucket.bucket);
  if (!sharded_ && !collective_.alone()) {
    for (const GradientBucket& bucket : buckets_) collective_.start_gather(gradients_, bucket.bucket);
    for (const GradientBucket& bucket : buckets_) collective_.finish_gather(bucket.bucket);
  }
  squares_piece_.run(device_, record, [this] { optimizer_.sum_squares(gradients_); });
  if (sharded_ && !collective_.alone()) {
    for (const Bucket& squares : squares_) collective_.start_gather(optimizer_.squares(), squares);
    for (const Bucket& squares : squares_) collective_.finish_gather(squares);
  }
  share_guard();
  apply_piece_.run(device_, record, [this] { optimizer_.apply(weights_, rounded_, gradients_); });
  if (!sharded_ || collective_.alone()) return;
  // In the order in which the forward pass reads them.
  for (std::size_t k = buckets_.size(); k-- > 0;) {
    collective_.start_gather(weights_, buckets_[k].bucket);
    travelling_[k] = 1;
  }
}

void RankUpdate::need(std::size_t k) {
  if (travelling_[k] == 0) return;
  travelling_[k] = 0;
  const Bucket& bucket = buckets_[k].bucket;
  collective_.finish_gather(bucket);
  if (!rounded_.empty()) ops_.convert(part(rounded_, bucket), part(weights_, bucket));
}

void RankUpdate::settle() {
  for (std::size_t k = buckets_.size(); k-- > 0;) need(k);
}

}  // namespace nll
