// Score: the sums over target tokens that an evaluation is made of. FP64 in the order of the tokens.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

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

// A text may be scored in parts, by ranks: each but the first `continues` the one before it, and their bytes() added up
// in their order are the score of the whole. Counts are then exact; FP64 sums differ by their rounding.
class Score {
 public:
  explicit Score(const TokenLengths& lengths, bool continues = false)
      : lengths_(lengths), classes_(lengths.classes, continues) {}
  void add(const ScoredToken& token);
  std::int64_t tokens() const { return sums_.tokens; }
  Evaluation evaluation() const;  // complete = true; of no token at all: all zero

  // All that was added, as bytes for a rank of the same build.
  std::string bytes() const;
  void add(std::string_view bytes);

 private:
  // Plain data without padding.
  struct Sums {
    std::int64_t tokens = 0, text_tokens = 0, bytes = 0, characters = 0, correct = 0, top5 = 0;
    double nll = 0, text_nll = 0, entropy = 0, brier = 0;
    std::array<CalibrationBin, 15> bins{};
    std::array<CalibrationBin, 10> bins10{};
  };
  static_assert(sizeof(Sums) == 8 * (10 + 3 * 25));

  const TokenLengths& lengths_;
  Sums sums_;
  ClassScore classes_;
};

// Scores everything `windows` gives, as evaluate() does; where `progress` stops it, tokens() is less than
// windows.targets(). Exchanges nothing with other ranks: a rank without a window gives a score of nothing.
Score score_windows(Gpt& gpt, Head& head, Device& device, const GptTensors& weights, SequentialWindows& windows,
                    const TokenLengths& lengths, const Arena& inputs,
                    const std::function<bool(std::int64_t, std::int64_t)>& progress, const TokenObserver& observe = {});

}  // namespace nll
