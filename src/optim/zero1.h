// ZeRO-1 (Rajbhandari et al. 2020): which part of the gradients, moments and updates belongs to which rank, and in
// which pieces they travel. One rank owns everything.
#pragma once
#include <cstdint>
#include <vector>

#include "src/dist/collective.h"
#include "src/model/parameters.h"

namespace nll {

// A bucket of the parameter arena that is complete when the backward pass has done `first_layer`, and the embedding
// where it says so.
struct GradientBucket {
  Bucket bucket;
  std::int64_t first_layer = 0;
  bool embedding = false;
};

// The arena cut into buckets, in the order in which the backward pass completes them: from its end to its start, whole
// layers together up to `bucket_bytes` of FP32 at least, the embedding last. All cuts are at blocks of the gradient
// norm (Ops::norm_block elements from the arena's start), so that no sum of squares is split; parts are as even as that
// allows, and may be empty. One rank: one bucket.
std::vector<GradientBucket> gradient_buckets(const ParameterTable& table, std::int64_t layers, std::int64_t ranks,
                                             std::int64_t bucket_bytes);

// Elements [begin, end) of the arena, whose moments lie from `offset` on in arenas that hold the owned ones only.
struct OwnedSpan {
  std::int64_t begin = 0, end = 0, offset = 0;
  std::int64_t size() const { return end - begin; }
};

// What a rank owns, ascending, neighbours joined.
std::vector<OwnedSpan> owned_spans(const std::vector<GradientBucket>& buckets, std::int64_t rank);
std::vector<OwnedSpan> everything(const ParameterTable& table);
std::int64_t elements_of(const std::vector<OwnedSpan>& spans);

// The blocks whose sums of squares the ranks compute of a bucket, as positions in the sums of the whole arena.
Bucket squares_bucket(const Bucket& bucket);

}  // namespace nll
