#include "src/rewards/rewards.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/check.h"
#include "tests/rewards/requests.h"

namespace nll::test {
namespace {

RewardConfig rules(std::vector<std::string> names) {
  RewardConfig config;
  config.rules = std::move(names);
  return config;
}

std::string refusal(const RewardConfig& config) {
  try {
    RewardRules made(config);
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::usage);
    return error.what();
  }
  return "none";
}

TEST(RewardRules, AreAddedWithTheirWeights) {
  RewardConfig config = rules({"exact_answer", "0.2 regex", "-1 length"});
  config.pattern = "^[0-9]+$";
  config.target_tokens = 4;
  RewardRules reward(config);
  std::vector<RewardRequest> requests{request("4", R"({"answer": 4})"), request("four", R"({"answer": 4})")};
  requests[0].tokens = 3;
  requests[1].tokens = 4;
  const Rewards made = reward(requests);
  EXPECT_EQ(made.by_rule, (std::vector<std::vector<double>>{{1, 0}, {1, 0}, {0.75, 1}}));
  EXPECT_EQ(made.total, (std::vector<double>{1 + 0.2 - 0.75, -1}));
  EXPECT_TRUE(reward.uses("regex"));
  EXPECT_FALSE(reward.uses("model"));
}

TEST(RewardRules, TheRecordsOwnCompletionIsTheAnswerWhereItHasNoColumns) {
  RewardRules reward(rules({"overlap"}));
  RewardRequest with_gold = request("the cat");
  with_gold.gold = "the cat sat down";
  EXPECT_DOUBLE_EQ(reward(std::span(&with_gold, 1)).total[0], 2.0 * 2 / 6);
}

TEST(RewardRules, WhatARuleCannotScoreIsLeftOutOfTheSum) {
  const double none = std::numeric_limits<double>::quiet_NaN();
  RewardConfig config = rules({"repetition", "2 model"});
  RewardRules both(config, [&](std::span<const RewardRequest> r) { return std::vector<double>(r.size(), none); });
  const RewardRequest one = request("a a a a a");
  EXPECT_EQ(both(std::span(&one, 1)).total[0], -0.5);
  RewardRules alone(rules({"model"}),
                    [&](std::span<const RewardRequest> r) { return std::vector<double>(r.size(), none); });
  EXPECT_TRUE(std::isnan(alone(std::span(&one, 1)).total[0]));
}

TEST(RewardRules, WhatARuleLacksIsAnErrorThatNamesTheKey) {
  EXPECT_EQ(refusal(rules({"regex"})), "reward.pattern: is not set, and rule regex of reward.rules needs it");
  EXPECT_EQ(refusal(rules({"length"})), "reward.target_tokens: is not set, and rule length of reward.rules needs it");
  EXPECT_EQ(refusal(rules({"model"})), "reward.model: is not set, and rule model of reward.rules needs it");
  EXPECT_EQ(refusal(rules({"command"})), "reward.command: is not set, and rule command of reward.rules needs it");
  EXPECT_EQ(refusal(rules({"beauty"})).find("reward.rules"), 0u);
  EXPECT_EQ(refusal(rules({})).find("reward.rules"), 0u);
}

}  // namespace
}  // namespace nll::test
