#include "src/objectives/rewards.h"

#include <cmath>

#include "kernels/check.h"

namespace nll {

double kl_estimate(KlEstimator estimator, double logp, double reference_logp) {
  const double d = logp - reference_logp;
  return estimator == KlEstimator::k1 ? d : std::expm1(-d) + d;
}

std::vector<double> shaped_rewards(std::span<const float> logp, std::span<const float> reference_logp, double score,
                                   bool ended, const RewardShaping& shaping, Metrics& metrics) {
  CHECK(logp.size() == reference_logp.size());
  if (!ended) score -= shaping.missing_end_penalty.value_or(0);
  std::vector<double> rewards;
  double kl = 0, surprise = 0;
  for (std::size_t t = 0; t < logp.size(); ++t) {
    const double estimate =
        kl_estimate(shaping.estimator, static_cast<double>(logp[t]), static_cast<double>(reference_logp[t]));
    rewards.push_back(-shaping.kl_coefficient * estimate);
    kl += estimate;
    surprise -= static_cast<double>(logp[t]);
  }
  if (shaping.place == ScorePlace::slot_after_last) {
    rewards.push_back(score);
  } else if (!rewards.empty()) {
    rewards.back() += score;
  }
  metrics.at("objective/kl").add(kl);
  metrics.at("objective/entropy").add(surprise);
  metrics.at("objective/non_score_reward").add(-shaping.kl_coefficient * kl);
  metrics.at("objective/rlhf_reward").add(score - shaping.kl_coefficient * kl);
  metrics.at("objective/scores").add(score);
  return rewards;
}

}  // namespace nll
