// Exposure bias: what it costs a model that was trained on gold prefixes to go on from its own. Definitions:
// docs/evaluation.md.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "src/eval/estimate.h"
#include "src/eval/teacher_forcing.h"

namespace nll {

// `count` tokens that the model writes after `prompt`; prompt and they fit the context. Temperature 0: always its first
// choice. A function of its arguments.
using ContinueText = std::function<std::vector<std::int32_t>(std::span<const std::int32_t> prompt, std::int64_t count,
                                                             double temperature, std::uint64_t seed)>;

// Loss on the gold continuation where the last k tokens before it were replaced.
struct ExposurePoint {
  std::int64_t k = 0;
  Estimate loss;    // the model's own tokens there, nats per token
  Estimate excess;  // that less the loss after the gold prefix, paired by window
  Estimate other;   // excess where the k tokens are gold text of another place; not a number for a single window
};

// Share of gold tokens that the model's first choice hits, at steps first..last after the gold prefix has ended.
struct StepAccuracy {
  std::int64_t first = 0, last = 0;
  Estimate forced;        // gold tokens before each
  Estimate free_running;  // the model's own first choices before it
};

struct ExposureBias {
  std::int64_t windows = 0, prefix = 0, continuation = 0;  // tokens of a prefix, and of what is scored after it
  Estimate gold;                                           // loss after the gold prefix
  std::vector<ExposurePoint> curve;                        // k = 1, 4, 16, 64 as far as the prefix has k + 1 tokens
  std::vector<StepAccuracy> accuracy;
};

// Estimates are means over windows. Windows of equal length, at least 3 tokens each and at most the context + 1.
// `progress(done, total)` is called after each window; it may throw to stop.
ExposureBias measure_exposure(ParallelScorer& parallel, const ContinueText& continue_text,
                              std::span<const std::vector<std::int32_t>> windows, std::uint64_t seed,
                              const std::function<void(std::int64_t, std::int64_t)>& progress = {});

}  // namespace nll
