#include "src/objectives/scheduled_sampling.h"

#include <algorithm>
#include <cmath>

#include "kernels/check.h"

namespace nll {

std::optional<ScheduledSampling> scheduled_sampling(const ScheduledSamplingConfig& config) {
  if (config.decay == "off") return std::nullopt;
  const GoldDecay decay = config.decay == "linear"        ? GoldDecay::linear
                          : config.decay == "exponential" ? GoldDecay::exponential
                                                          : GoldDecay::inverse_sigmoid;
  return ScheduledSampling{decay, config.k, config.slope, config.floor};
}

double gold_probability(const ScheduledSampling& settings, std::int64_t step) {
  const double i = static_cast<double>(step), k = settings.k;
  double p = 1;
  switch (settings.decay) {
    case GoldDecay::linear:
      p = std::max(settings.floor, k - settings.slope * i);
      break;
    case GoldDecay::exponential:
      p = std::pow(k, i);
      break;
    case GoldDecay::inverse_sigmoid:
      p = k / (k + std::exp(i / k));
      break;
  }
  return std::clamp(p, 0.0, 1.0);
}

std::int64_t mix_inputs(std::span<const std::int32_t> gold, std::span<const std::int32_t> predictions,
                        std::span<const double> uniforms, double probability, std::span<const std::uint8_t> keep,
                        std::span<std::int32_t> mixed) {
  CHECK(predictions.size() == gold.size());
  CHECK(uniforms.size() == gold.size());
  CHECK(mixed.size() == gold.size());
  CHECK((keep.empty() || keep.size() == gold.size()));
  std::int64_t replaced = 0;
  for (std::size_t i = 0; i < gold.size(); ++i) {
    const bool stays = i == 0 || (!keep.empty() && keep[i] != 0) || uniforms[i] < probability;
    mixed[i] = stays ? gold[i] : predictions[i - 1];
    replaced += stays ? 0 : 1;
  }
  return replaced;
}

}  // namespace nll
