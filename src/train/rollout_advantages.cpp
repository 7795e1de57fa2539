#include "src/train/rollout_advantages.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <utility>

#include "kernels/check.h"
#include "src/objectives/advantages.h"
#include "src/objectives/rewards.h"

namespace nll {
namespace {

bool by_group(const std::string& kind) { return kind == "grpo" || kind == "gspo" || kind == "cispo"; }

// Whether the divergence from the reference is taken off the rewards.
bool shapes_rewards(const Config& config) {
  return !by_group(config.objective.kind) && config.rollout.kl_coefficient > 0;
}

RewardShaping shaping_of(const Config& config) {
  const RolloutConfig& rollout = config.rollout;
  RewardShaping shaping;
  shaping.kl_coefficient = shapes_rewards(config) ? rollout.kl_coefficient : 0;
  shaping.estimator = rollout.kl_estimator == "k3" ? KlEstimator::k3 : KlEstimator::k1;
  if (config.objective.kind == "ppo" && rollout.score_place == "slot_after_last") {
    shaping.place = ScorePlace::slot_after_last;
  }
  if (rollout.missing_end_penalty > 0) shaping.missing_end_penalty = rollout.missing_end_penalty;
  return shaping;
}

class Shaper {
 public:
  Shaper(const Config& config, Metrics& metrics) : shaping_(shaping_of(config)), metrics_(metrics) {
    for (const char* name : {"reward", "objective/kl", "objective/entropy", "objective/non_score_reward",
                             "objective/rlhf_reward", "objective/scores"}) {
      if (reports(name)) metrics_.at(name);
    }
  }
  // Rewards of the sampled tokens, and of the slot after them where that is the score's place.
  std::vector<double> operator()(const Completion& c) {
    const auto gold = static_cast<std::size_t>(c.gold_tokens);
    const std::vector<float>& logp = c.logp.empty() ? c.sampled_logp : c.logp;
    const std::vector<float>& reference = has_reference() ? c.reference_logp : logp;
    CHECK(logp.size() == static_cast<std::size_t>(c.completion_tokens()));
    CHECK(reference.size() == logp.size());
    Metrics all;
    std::vector<double> rewards = shaped_rewards(std::span(logp).subspan(gold), std::span(reference).subspan(gold),
                                                 c.reward, c.ended, shaping_, all);
    for (const Metric& metric : all.all()) {
      if (reports(metric.name())) metrics_.at(metric.name()) += metric;
    }
    metrics_.at("reward").add(c.reward);
    return rewards;
  }

 private:
  bool has_reference() const { return shaping_.kl_coefficient != 0; }
  bool reports(std::string_view name) const {
    return has_reference() || (name != "objective/kl" && name != "objective/non_score_reward");
  }
  RewardShaping shaping_;
  Metrics& metrics_;
};

void add_proximal(std::vector<Completion>& completions, const Config& config, Metrics& metrics) {
  Shaper shape(config, metrics);
  std::vector<std::vector<double>> rewards(completions.size());
  Moments of_rewards;
  for (std::size_t i = 0; i < completions.size(); ++i) {
    if (std::isnan(completions[i].reward)) continue;
    rewards[i] = shape(completions[i]);
    if (!completions[i].learned) continue;
    for (double reward : rewards[i]) of_rewards.add(reward);
  }
  Moments of_advantages;
  for (std::size_t i = 0; i < completions.size(); ++i) {
    Completion& c = completions[i];
    const auto n = static_cast<std::size_t>(c.completion_tokens());
    c.token_advantages.assign(n, 0);
    c.returns.assign(n, 0);
    if (!c.learned) continue;
    if (config.rollout.whiten_rewards) whiten(rewards[i], of_rewards, false);
    std::vector<double> values(c.values.begin(), c.values.end());
    values.resize(rewards[i].size());  // without a scalar head: zeros
    Advantages made = generalized_advantages(rewards[i], values, config.rollout.gamma, config.rollout.lambda);
    std::copy_n(made.advantages.begin(), n, c.token_advantages.begin());
    std::copy_n(made.returns.begin(), n, c.returns.begin());
    for (double advantage : c.token_advantages) of_advantages.add(advantage);
  }
  for (Completion& c : completions) {
    if (c.learned) whiten(c.token_advantages, of_advantages);
  }
}

void add_returns(std::vector<Completion>& completions, const Config& config, Metrics& metrics) {
  Shaper shape(config, metrics);
  for (Completion& c : completions) {
    c.returns.assign(static_cast<std::size_t>(c.completion_tokens()), 0);
    if (std::isnan(c.reward) || c.gold_tokens == c.completion_tokens()) continue;
    const std::vector<double> returns = rewards_to_go(shape(c), config.rollout.gamma);
    std::copy(returns.begin(), returns.end(), c.returns.begin() + c.gold_tokens);
  }
}

void add_group_advantages(std::vector<Completion>& completions, const Config& config, Metrics& metrics) {
  const std::int64_t group = completions_of_a_prompt(config);
  const bool leave_out = config.objective.kind == "rloo";
  std::vector<double> rewards;
  if (leave_out && shapes_rewards(config)) {
    Shaper shape(config, metrics);
    Metrics ignored;
    for (const Completion& c : completions) {
      if (std::isnan(c.reward)) {
        rewards.push_back(c.reward);
        continue;
      }
      double total = 0;
      for (double reward : shape(c)) total += reward;
      rewards.push_back(total);
    }
    // `reward` is already there, without the divergence.
    const std::vector<double> advantages = leave_one_out(rewards, group, config.rollout.normalise_advantages, ignored);
    for (const char* name : {"reward_std", "frac_reward_zero_std"}) metrics.at(name) += *ignored.find(name);
    for (std::size_t i = 0; i < completions.size(); ++i) completions[i].advantage = advantages[i];
    return;
  }
  for (const Completion& c : completions) {
    rewards.push_back(c.ended ? c.reward : c.reward - config.rollout.missing_end_penalty);
  }
  const std::string& scale = config.rollout.scale_rewards;
  const std::vector<double> advantages =
      leave_out ? leave_one_out(rewards, group, config.rollout.normalise_advantages, metrics)
                : group_advantages(rewards, group,
                                   scale == "group"   ? RewardScale::group
                                   : scale == "batch" ? RewardScale::batch
                                                      : RewardScale::none,
                                   metrics);
  for (std::size_t i = 0; i < completions.size(); ++i) completions[i].advantage = advantages[i];
}

}  // namespace

RolloutPasses rollout_passes(const Config& config, const Needs& needs) {
  const bool shaped = shapes_rewards(config);
  return {.policy = needs.old_logp || shaped, .values = needs.old_values, .reference = needs.reference_logp || shaped};
}

std::int64_t completions_of_a_prompt(const Config& config) {
  const std::string& kind = config.objective.kind;
  return config.rollout.completions.value_or(by_group(kind) ? 8 : kind == "rloo" ? 2 : 1);
}

void add_advantages(std::vector<Completion>& completions, const Config& config, Metrics& metrics) {
  const std::string& kind = config.objective.kind;
  const bool grouped = by_group(kind) || kind == "rloo";
  for (Completion& c : completions) {
    const bool masked = !c.ended && config.rollout.truncated == "mask";
    // In a group a completion without a reward has the advantage 0, and its distance from the reference still counts.
    c.learned = !masked && (grouped || !std::isnan(c.reward));
    report_completion(c.completion_tokens(), c.ended, metrics);
  }
  if (grouped) {
    add_group_advantages(completions, config, metrics);
  } else if (kind == "ppo") {
    add_proximal(completions, config, metrics);
  } else {
    CHECK((kind == "reinforce" || kind == "mixer"));
    add_returns(completions, config, metrics);
  }
}

}  // namespace nll
