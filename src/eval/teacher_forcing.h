// Teacher forcing: one parallel pass over gold text gives the log-probabilities that decoding it step by step gives, no
// position sees a later one, and it takes less time. Definitions and limits: docs/evaluation.md.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "kernels/arena.h"
#include "src/model/gpt.h"
#include "src/model/head.h"

namespace nll {

// What one pass says of T targets.
struct ForcedTokens {
  std::vector<float> logp;           // of the targets
  std::vector<std::int32_t> choice;  // the most likely token at each position
};

// The parallel pass: one forward over a sequence of at most the model's context, all targets scored at once.
class ParallelScorer {
 public:
  ParallelScorer(const ModelConfig& model, const HeadConfig& head, Ops& ops, Device& device, const GptTensors& weights,
                 const Numerics& numerics = {});
  // inputs and targets (T) with 1 <= T <= context.
  ForcedTokens score(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets);
  // Every token of `text` (T+1) after the first, given those before it.
  ForcedTokens score(std::span<const std::int32_t> text) {
    CHECK(text.size() >= 2u);
    return score(text.first(text.size() - 1), text.subspan(1));
  }

 private:
  Device& device_;
  GptTensors weights_;
  Gpt gpt_;
  Head head_;
  Arena inputs_;
};

// Log-probability of each token of `text` after the first given those before it, by another way than the parallel pass.
using ScoreText = std::function<std::vector<double>(std::span<const std::int32_t> text)>;

// How far two ways of computing the same log-probability may be apart.
struct ForcingLimits {
  double largest = 0;     // of |difference| over all tokens
  double mean = 0;        // of |difference|
  double perplexity = 0;  // relative
};
ForcingLimits forcing_limits(DType compute);

// Parallel against step by step, over several windows cut to one length.
struct ForcingDifference {
  std::int64_t length = 0, windows = 0, tokens = 0;
  double largest = 0, mean = 0;  // |difference| of log-probabilities; infinite where one is not a finite number
  double perplexity = 0;         // |relative difference|
  bool within(const ForcingLimits& limits) const;
};
// Looks at the first length + 1 tokens of each window, which must have them.
ForcingDifference compare_passes(ParallelScorer& parallel, const ScoreText& stepwise,
                                 std::span<const std::vector<std::int32_t>> windows, std::int64_t length);

// What changes when the input at position `changed` is another token and all targets stay.
struct CausalityCheck {
  std::int64_t changed = 0;
  std::int64_t earlier = 0, earlier_different = 0;  // positions before it; log-probabilities with other bits
  std::int64_t later = 0, later_different = 0;      // from it on; 0 different: the model does not read its input
  bool passed() const { return earlier_different == 0 && later_different > 0; }
};
// Five positions spread over the window (T+1 tokens), or as many as there are after the first.
std::vector<CausalityCheck> check_causality(ParallelScorer& parallel, std::span<const std::int32_t> window,
                                            std::int64_t vocabulary);

// Tokens per second over a sequence of `length` tokens, one sequence at a time; medians of `repeats`.
struct ForcingSpeed {
  std::int64_t length = 0, repeats = 0;
  double parallel = 0, stepwise = 0, free_running = 0;
  double ratio() const { return parallel / stepwise; }
};
struct ForcingWays {
  std::function<void()> parallel, stepwise, free_running;
};
// Runs the ways in turn until `enough` seconds have passed, at least once and at most 100 times each. `now` is in
// seconds.
ForcingSpeed measure_speed(std::int64_t length, const ForcingWays& ways, double enough,
                           const std::function<double()>& now);

// 16, 64, 256, ... below `longest`, then `longest`.
std::vector<std::int64_t> forcing_lengths(std::int64_t longest);

}  // namespace nll
