// Loss by position in the context and by how often the training text had the token. docs/evaluation.md.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "src/text/token_files.h"

namespace nll {

struct LossBucket {
  std::int64_t first = 0, last = 0;  // what falls into it, both included
  std::int64_t tokens = 0;
  double nll = 0;
  double unigram_nll = 0;  // by frequency only: sum of -ln(count / all tokens), what a model of frequencies would pay
  double loss() const { return tokens == 0 ? 0 : nll / static_cast<double>(tokens); }
  double unigram_loss() const { return tokens == 0 ? 0 : unigram_nll / static_cast<double>(tokens); }
};

// Buckets [2^k, 2^(k+1)) of the number of tokens that the model saw of the context before it predicted; the last ends
// with the longest that was seen.
class PositionLosses {
 public:
  void add(std::int64_t seen, double nll);                             // seen >= 1
  const std::vector<LossBucket>& buckets() const { return buckets_; }  // up to the last that has tokens

 private:
  std::vector<LossBucket> buckets_;
};

// How often each id is in all files of the dataset. Stops where `progress(done, total)` says false and returns nothing.
std::vector<std::int64_t> count_tokens(const TokenDataset& dataset,
                                       const std::function<bool(std::int64_t, std::int64_t)>& progress);

// Buckets 0, 1 to 9, 10 to 99, ... of the count of the target in the training text.
class FrequencyLosses {
 public:
  explicit FrequencyLosses(std::vector<std::int64_t> counts);  // of each id of the vocabulary
  void add(std::int32_t target, double nll);
  const std::vector<LossBucket>& buckets() const { return buckets_; }  // up to the count of the most frequent id

 private:
  std::vector<std::int64_t> counts_;
  std::vector<double> unigram_nll_;   // of each id; 0 for ids that never occur, whose unigram loss has no bound
  std::vector<std::uint8_t> bucket_;  // of each id
  std::vector<LossBucket> buckets_;
};

}  // namespace nll
