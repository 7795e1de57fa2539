#include "src/optim/zero1.h"

#include <fmt/format.h>

#include <algorithm>

namespace nll {

namespace {

std::int64_t blocks_up_to(std::int64_t elements) { return (elements + Ops::norm_block - 1) / Ops::norm_block; }

// First element of a layer in the arena.
std::int64_t begin_of_layer(const ParameterTable& table, std::int64_t layer) {
  const std::string prefix = fmt::format("transformer.h.{}.", layer);
  const auto& specs = table.specs();
  const auto found =
      std::find_if(specs.begin(), specs.end(), [&](const ParameterSpec& s) { return s.name.starts_with(prefix); });
  const bool known = found != specs.end();
  CHECK(known);
  return found->offset;
}

Bucket cut(std::int64_t index, std::int64_t begin, std::int64_t end, std::int64_t ranks) {
  Bucket bucket;
  bucket.index = index;
  const std::int64_t blocks = blocks_up_to(end - begin);
  for (std::int64_t r = 0; r <= ranks; ++r)
    bucket.cuts.push_back(std::min(end, begin + blocks * r / ranks * Ops::norm_block));
  return bucket;
}

}  // namespace

std::vector<GradientBucket> gradient_buckets(const ParameterTable& table, std::int64_t layers, std::int64_t ranks,
                                             std::int64_t bucket_bytes) {
  std::vector<GradientBucket> buckets;
  std::int64_t end = table.stored_elements();
  if (ranks > 1) {
    for (std::int64_t layer = layers - 1; layer >= 0; --layer) {
      // A block that begins in an earlier layer is complete with that one.
      const std::int64_t begin = std::min(end, blocks_up_to(begin_of_layer(table, layer)) * Ops::norm_block);
      if (begin == end || (end - begin) * 4 < bucket_bytes) continue;
      buckets.push_back({cut(static_cast<std::int64_t>(buckets.size()), begin, end, ranks), layer, false});
      end = begin;
    }
  }
  buckets.push_back({cut(static_cast<std::int64_t>(buckets.size()), 0, end, ranks), 0, true});
  return buckets;
}

std::vector<OwnedSpan> owned_spans(const std::vector<GradientBucket>& buckets, std::int64_t rank) {
  std::vector<OwnedSpan> spans;
  for (auto bucket = buckets.rbegin(); bucket != buckets.rend(); ++bucket) {
    const std::int64_t begin = bucket->bucket.cuts.at(static_cast<std::size_t>(rank)),
                       end = bucket->bucket.cuts.at(static_cast<std::size_t>(rank) + 1);
    if (begin == end) continue;
    if (!spans.empty() && spans.back().end == begin) {
      spans.back().end = end;
    } else {
      spans.push_back({begin, end, elements_of(spans)});
    }
  }
  return spans;
}

std::vector<OwnedSpan> everything(const ParameterTable& table) { return {{0, table.stored_elements(), 0}}; }

std::int64_t elements_of(const std::vector<OwnedSpan>& spans) {
  return spans.empty() ? 0 : spans.back().offset + spans.back().size();
}

Bucket squares_bucket(const Bucket& bucket) {
  Bucket squares;
  squares.index = bucket.index;
  for (const std::int64_t element : bucket.cuts) squares.cuts.push_back(blocks_up_to(element));
  return squares;
}

}  // namespace nll
