// Scheduled sampling (Bengio et al. 2015) in two parallel passes (Mihaylova and Martins 2019): the first reads the gold
// inputs and predicts each token; the second reads a mixture of gold and predicted inputs and is trained against the
// gold targets.
#pragma once
#include <cstdint>
#include <optional>
#include <span>

#include "src/config/objective_config.h"

namespace nll {

enum class GoldDecay {
  linear,          // max(floor, k - c i)
  exponential,     // k^i, 0 < k < 1
  inverse_sigmoid  // k / (k + e^(i/k)), k >= 1
};
struct ScheduledSampling {
  GoldDecay decay = GoldDecay::linear;
  double k = 1, slope = 0, floor = 0;  // slope and floor: linear only
};

// What the keys say; nothing where it is off.
std::optional<ScheduledSampling> scheduled_sampling(const ScheduledSamplingConfig& config);

// The share of inputs that are gold at optimizer step `step`, in [0, 1].
double gold_probability(const ScheduledSampling& settings, std::int64_t step);

// Writes the inputs of the second pass of one row into `mixed`. Input i stays gold where uniforms[i] < probability, and
// else becomes predictions[i - 1], what the first pass said at position i - 1. Input 0 stays, and so does every i with
// keep[i] (`keep` may be empty): prompts, padding, ends of text, the first token of a document. Returns how many became
// predictions.
std::int64_t mix_inputs(std::span<const std::int32_t> gold, std::span<const std::int32_t> predictions,
                        std::span<const double> uniforms, double probability, std::span<const std::uint8_t> keep,
                        std::span<std::int32_t> mixed);

}  // namespace nll
