// Rewards of sampled completions, token by token: a penalty for leaving the reference, and the score at the end.
#pragma once
#include <optional>
#include <span>
#include <vector>

#include "src/objectives/metrics.h"

namespace nll {

// Estimates of KL(sampler, reference) from one sampled token, d = logp - reference.
enum class KlEstimator {
  k1,  // d: unbiased, either sign
  k3   // e^-d - 1 + d: never negative
};
enum class ScorePlace {
  last_token,      // the score is the last token's
  slot_after_last  // one more step after it, with a value of its own, as TRL has it
};
struct RewardShaping {
  double kl_coefficient = 0.05;
  KlEstimator estimator = KlEstimator::k1;
  ScorePlace place = ScorePlace::last_token;
  std::optional<double> missing_end_penalty;  // taken off the score of a completion that did not end
};

double kl_estimate(KlEstimator estimator, double logp, double reference_logp);

// Rewards of one completion of n tokens: n, or n + 1 with slot_after_last. `logp`: of the policy that sampled.
// `metrics` gets objective/{kl, entropy, non_score_reward, rlhf_reward, scores}, sums over a completion.
std::vector<double> shaped_rewards(std::span<const float> logp, std::span<const float> reference_logp, double score,
                                   bool ended, const RewardShaping& shaping, Metrics& metrics);

}  // namespace nll
