#include "src/rewards/rewards.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "kernels/check.h"
#include "src/rewards/pattern.h"
#include "src/rewards/reward_command.h"
#include "src/rewards/rules.h"

namespace nll {
namespace {

// A rule that looks at one completion at a time.
template <class F>
RewardFunction each(F rule) {
  return [rule = std::move(rule)](std::span<const RewardRequest> requests) {
    std::vector<double> values;
    values.reserve(requests.size());
    for (const RewardRequest& request : requests) values.push_back(rule(request));
    return values;
  };
}

void require(bool there, const char* key, const char* rule) {
  if (!there)
    throw Error(Exit::usage, std::string(key) + ": is not set, and rule " + rule + " of reward.rules needs it");
}

RewardFunction make_rule(const std::string& rule, const RewardConfig& config, const RewardFunction& model) {
  if (rule == "exact_answer") {
    auto pattern = std::make_shared<std::optional<Pattern>>();
    if (!config.answer_pattern.empty()) pattern->emplace(config.answer_pattern, "reward.answer_pattern");
    return each([pattern, field = config.answer_field](const RewardRequest& r) {
      return exact_answer_reward(r.completion, right_answer(r, field), *pattern);
    });
  }
  if (rule == "regex") {
    require(!config.pattern.empty(), "reward.pattern", "regex");
    auto pattern = std::make_shared<Pattern>(config.pattern, "reward.pattern");
    return each([pattern](const RewardRequest& r) { return pattern->matches(r.completion) ? 1.0 : 0.0; });
  }
  if (rule == "length") {
    require(config.target_tokens > 0, "reward.target_tokens", "length");
    return each([target = config.target_tokens](const RewardRequest& r) { return length_reward(r.tokens, target); });
  }
  if (rule == "repetition") return each([](const RewardRequest& r) { return repetition_reward(r.completion); });
  if (rule == "overlap") {
    return each([field = config.answer_field](const RewardRequest& r) {
      return overlap_reward(r.completion, right_answer(r, field));
    });
  }
  if (rule == "model") {
    require(static_cast<bool>(model), "reward.model", "model");
    return model;
  }
  CHECK(rule == "command");
  require(!config.command.empty(), "reward.command", "command");
  return [command = std::make_shared<RewardCommand>(config.command, std::chrono::seconds(config.command_seconds))](
             std::span<const RewardRequest> requests) { return (*command)(requests); };
}

}  // namespace

RewardRules::RewardRules(const RewardConfig& config, RewardFunction model)
    : rules_(weighted_names(config.rules, "reward.rules", reward_rule_names())) {
  for (const WeightedName& rule : rules_) functions_.push_back(make_rule(rule.name, config, model));
}

bool RewardRules::uses(const std::string& rule) const {
  return std::any_of(rules_.begin(), rules_.end(), [&](const WeightedName& mine) { return mine.name == rule; });
}

Rewards RewardRules::operator()(std::span<const RewardRequest> requests) {
  Rewards rewards;
  rewards.total.assign(requests.size(), std::numeric_limits<double>::quiet_NaN());
  for (std::size_t rule = 0; rule < functions_.size(); ++rule) {
    std::vector<double> values = functions_[rule](requests);
    CHECK(values.size() == requests.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (std::isnan(values[i])) continue;
      double& total = rewards.total[i];
      total = (std::isnan(total) ? 0 : total) + rules_[rule].weight * values[i];
    }
    rewards.by_rule.push_back(std::move(values));
  }
  return rewards;
}

}  // namespace nll
