#include "src/objectives/policy_ratio.h"

#include <algorithm>
#include <cmath>

#include "src/objectives/logistic.h"

namespace nll {

ClippedRatio clipped_ratio(double ratio, double advantage, const ClipRange& range) {
  if (advantage == 0) return {};  // an infinite ratio times nothing is nothing
  const double low = 1 - range.below, high = 1 + range.above;
  const double capped = range.delta ? std::min(ratio, *range.delta) : ratio;
  const double clipped = std::clamp(ratio, low, high);
  ClippedRatio r;
  r.low = advantage < 0 && ratio < low;
  r.high = advantage > 0 && ratio > high;
  const bool take_capped = capped * advantage <= clipped * advantage;
  r.loss = -(take_capped ? capped : clipped) * advantage;
  const bool moves = take_capped ? capped == ratio : clipped == ratio;
  r.derivative = moves ? -advantage * ratio : 0.0;
  return r;
}

double log_ratio(const Sequence& s, std::size_t t) {
  if (s.old_logp.empty() || !s.is_scored()) return 0;
  return static_cast<double>(s.scored.logp[t]) - static_cast<double>(s.old_logp[t]);
}

KlTerm k3_term(double policy_logp, double reference_logp) {
  const double d = reference_logp - policy_logp;
  return {std::expm1(d) - d, -std::expm1(d)};
}

GroupWeight::GroupWeight(GroupAggregation aggregation, std::int64_t max_completion_tokens, const Step& step,
                         const StepCounts& counts)
    : aggregation_(aggregation),
      max_completion_tokens_(static_cast<double>(max_completion_tokens)),
      counts_(counts),
      micro_batch_tokens_(step.micro_batches(), 0.0) {
  for (const Sequence& s : step.sequences()) micro_batch_tokens_[s.micro_batch] += static_cast<double>(s.tokens);
}

double GroupWeight::operator()(const Sequence& s) const {
  const auto sequences = static_cast<double>(counts_.sequences);
  switch (aggregation_) {
    case GroupAggregation::grpo:
      return ratio_or_zero(1, sequences * static_cast<double>(s.tokens));
    case GroupAggregation::bnpo:
      return ratio_or_zero(1, micro_batch_tokens_[s.micro_batch] * static_cast<double>(counts_.micro_batches));
    case GroupAggregation::dapo:
      return ratio_or_zero(1, static_cast<double>(counts_.completion_tokens));
    case GroupAggregation::dr_grpo:
      return ratio_or_zero(1, sequences * max_completion_tokens_);
  }
  return 0;
}

void ClipReport::add(const Sequence& s, const ClippedRatio& ratio) {
  Part& part = parts_[s.micro_batch];
  part.low += ratio.low ? 1 : 0;
  part.high += ratio.high ? 1 : 0;
  part.all += 1;
}

void ClipReport::write(Metrics& metrics) const {
  Metric& low_min = metrics.at("clip_ratio/low_min", Metric::Kind::least);
  for (const Part& part : parts_) {
    if (part.all > 0) low_min.add(part.low / part.all);
  }
  Metric& high_max = metrics.at("clip_ratio/high_max", Metric::Kind::most);
  for (const Part& part : parts_) {
    if (part.all > 0) high_max.add(part.high / part.all);
  }
  for (const char* name : {"clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean"}) metrics.at(name);
  for (const Part& part : parts_) {
    metrics.at("clip_ratio/low_mean").add_sum(part.low, part.all);
    metrics.at("clip_ratio/high_mean").add_sum(part.high, part.all);
    metrics.at("clip_ratio/region_mean").add_sum(part.low + part.high, part.all);
  }
}

}  // namespace nll
