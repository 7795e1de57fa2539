#include "src/eval/loss_bucket.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/check.h"

namespace nll {

void PositionLosses::add(std::int64_t seen, double nll) {
  CHECK(seen >= 1);
  const std::size_t bucket = static_cast<std::size_t>(std::bit_width(static_cast<std::uint64_t>(seen)) - 1);
  while (buckets_.size() <= bucket) {
    const std::int64_t first = std::int64_t{1} << buckets_.size();
    if (!buckets_.empty()) buckets_.back().last = first - 1;
    buckets_.push_back({first, first});
  }
  buckets_[bucket].last = std::max(buckets_[bucket].last, seen);
  ++buckets_[bucket].tokens;
  buckets_[bucket].nll += nll;
}

std::vector<std::int64_t> count_tokens(const TokenDataset& dataset,
                                       const std::function<bool(std::int64_t, std::int64_t)>& progress) {
  constexpr std::int64_t block = 1 << 18;  // tokens at a time: 1 MiB
  std::vector<std::int64_t> counts(static_cast<std::size_t>(dataset.vocabulary()));
  std::vector<std::int32_t> tokens;
  std::int64_t done = 0;
  for (const TokenFile& file : dataset.files()) {
    for (std::int64_t begin = 0; begin < file.info().tokens; begin += block) {
      tokens.resize(static_cast<std::size_t>(std::min(block, file.info().tokens - begin)));
      file.read(begin, tokens, dataset.vocabulary());
      for (std::int32_t id : tokens) ++counts[static_cast<std::size_t>(id)];
      done += static_cast<std::int64_t>(tokens.size());
      if (progress && !progress(done, dataset.tokens())) return {};
    }
  }
  return counts;
}

FrequencyLosses::FrequencyLosses(std::vector<std::int64_t> counts) : counts_(std::move(counts)) {
  std::int64_t total = 0, most = 0;
  for (std::int64_t count : counts_) {
    total += count;
    most = std::max(most, count);
  }
  buckets_.push_back({0, 0});
  for (std::int64_t first = 1; first <= most; first *= 10) buckets_.push_back({first, 10 * first - 1});
  for (std::int64_t count : counts_) {
    std::uint8_t bucket = 0;
    while (count > buckets_[bucket].last) ++bucket;
    bucket_.push_back(bucket);
    unigram_nll_.push_back(count == 0 ? 0 : -std::log(static_cast<double>(count) / static_cast<double>(total)));
  }
}

void FrequencyLosses::add(std::int32_t target, double nll) {
  const std::size_t id = static_cast<std::size_t>(target);
  CHECK(id < bucket_.size());
  LossBucket& bucket = buckets_[bucket_[id]];
  ++bucket.tokens;
  bucket.nll += nll;
  bucket.unigram_nll += unigram_nll_[id];
}

}  // namespace nll
