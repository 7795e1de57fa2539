// Score: the sums over target tokens that an evaluation is made of. FP64 in the order of the tokens.
#pragma once
#include <array>
#include <cstdint>

#include "src/eval/evaluate.h"

namespace nll {

// What the head says of one target token.
struct ScoredToken {
  std::int32_t target = 0;
  double logp = 0;
  double log_denominator = 0;  // ln d; the confidence of the model's own choice is 1 / d
  double entropy = 0;
  double sum_p2 = 0;
  std::int32_t rank = 0;  // of the target, 1 = the model's own choice
};

class Score {
 public:
  explicit Score(const TokenLengths& lengths) : lengths_(lengths), classes_(lengths.classes) {}
  void add(const ScoredToken& token);
  std::int64_t tokens() const { return tokens_; }
  Evaluation evaluation() const;  // complete = true

 private:
  const TokenLengths& lengths_;
  std::int64_t tokens_ = 0, text_tokens_ = 0, bytes_ = 0, characters_ = 0, correct_ = 0, top5_ = 0;
  double nll_ = 0, text_nll_ = 0, entropy_ = 0, brier_ = 0;
  std::array<CalibrationBin, 15> bins_{};
  std::array<CalibrationBin, 10> bins10_{};
  ClassScore classes_;
};

}  // namespace nll
