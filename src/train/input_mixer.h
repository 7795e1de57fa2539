// InputMixer: scheduled sampling in the trainer (docs/objectives.md): some inputs of a micro-batch become what the
// model itself predicted there, the targets stay gold.
#pragma once
#include <cstdint>
#include <vector>

#include "src/config/objective_config.h"
#include "src/objectives/metrics.h"
#include "src/text/batch.h"
#include "src/train/scorer.h"

namespace nll {

class InputMixer {
 public:
  InputMixer(const ScheduledSamplingConfig& config, std::uint64_t seed) : config_(config), seed_(seed) {}
  bool on() const { return config_.decay != "off"; }
  // The inputs of the second pass (B,T) where the first one said `scores`. `first_sequence`: index of the batch's first
  // sequence among all of the optimizer step, which with seed and step decides what is replaced. Metrics
  // scheduled_sampling/{p_gold,replaced,accuracy,loss}: the last two of the first pass.
  std::vector<std::int32_t> mix(const Batch& batch, const TokenScores& scores, std::int64_t step,
                                std::int64_t first_sequence, std::int32_t end_of_text, Metrics& metrics) const;

 private:
  ScheduledSamplingConfig config_;
  std::uint64_t seed_;
};

}  // namespace nll
