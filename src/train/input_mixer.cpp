#include "src/train/input_mixer.h"

#include "kernels/philox.h"
#include "src/objectives/scheduled_sampling.h"

namespace nll {

namespace {

ScheduledSampling settings_of(const ScheduledSamplingConfig& config) {
  ScheduledSampling settings;
  settings.decay = config.decay == "exponential"       ? GoldDecay::exponential
                   : config.decay == "inverse_sigmoid" ? GoldDecay::inverse_sigmoid
                                                       : GoldDecay::linear;
  settings.k = config.k;
  settings.slope = config.slope;
  settings.floor = config.floor;
  return settings;
}

}  // namespace

std::vector<std::int32_t> InputMixer::mix(const Batch& batch, const TokenScores& scores, std::int64_t step,
                                          std::int64_t first_sequence, std::int32_t end_of_text,
                                          Metrics& metrics) const {
  const double probability = gold_probability(settings_of(config_), step);
  const auto T = static_cast<std::size_t>(batch.context);
  std::vector<std::int32_t> mixed(batch.tokens.size());
  std::vector<double> uniforms(T);
  std::vector<std::uint8_t> keep(T);
  Metric replaced("scheduled_sampling/replaced", Metric::Kind::mean);
  for (std::size_t row = 0; row < static_cast<std::size_t>(batch.sequences); ++row) {
    const std::span<const std::int32_t> gold = std::span(batch.tokens).subspan(row * T, T);
    const std::uint64_t stream =
        random_stream(RandomPurpose::mix, static_cast<std::uint64_t>(first_sequence) + static_cast<std::uint64_t>(row));
    for (std::size_t t = 0; t < T; ++t) {
      const PhiloxBlock block = philox(seed_ ^ static_cast<std::uint64_t>(step) << 20, stream, t);
      uniforms[t] = unit_double(block.word[0], block.word[1]);
      // The end of a text and the first token of the next are given.
      keep[t] = gold[t] == end_of_text || (t > 0 && gold[t - 1] == end_of_text) ? 1 : 0;
    }
    const std::int64_t count = mix_inputs(gold, std::span(scores.argmax).subspan(row * T, T), uniforms, probability,
                                          keep, std::span(mixed).subspan(row * T, T));
    replaced.add_sum(static_cast<double>(count), static_cast<double>(T));
  }
  metrics.at("scheduled_sampling/p_gold").add(probability);
  metrics.at("scheduled_sampling/replaced") += replaced;
  Metric &accuracy = metrics.at("scheduled_sampling/accuracy"), &loss = metrics.at("scheduled_sampling/loss");
  double right = 0, nll = 0, count = 0;
  for (std::size_t i = 0; i < batch.targets.size(); ++i) {
    if (batch.targets[i] < 0) continue;
    right += scores.argmax[i] == batch.targets[i] ? 1 : 0;
    nll -= static_cast<double>(scores.logp[i]);
    count += 1;
  }
  accuracy.add_sum(right, count);
  loss.add_sum(nll, count);
  return mixed;
}

}  // namespace nll
