#include "src/train/rollout_advantages.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "src/objectives/advantages.h"

namespace nll::test {
namespace {

constexpr double none = std::numeric_limits<double>::quiet_NaN();

// A completion of n tokens after one of a prompt.
Completion completion(double reward, std::size_t n, bool ended = true) {
  Completion c;
  c.tokens.assign(n + 1, 1);
  c.prompt_tokens = 1;
  c.ended = ended;
  c.reward = reward;
  c.sampled_logp.assign(n, -1.0f);
  c.logp.assign(n, -1.0f);
  c.reference_logp.assign(n, -1.5f);
  c.values.assign(n + 1, 0.25f);
  return c;
}

Config config_of(const std::string& kind) {
  Config config;
  config.objective.kind = kind;
  config.rollout.kl_coefficient = 0.1;
  return config;
}

TEST(RolloutAdvantages, ReinforceHasReturnsWithoutWhatTheReferenceCosts) {
  std::vector<Completion> all{completion(1, 2), completion(none, 2)};
  Metrics metrics;
  add_advantages(all, config_of("reinforce"), metrics);
  // k1 = 0.5 a token: rewards -0.05, 1 - 0.05
  EXPECT_NEAR(all[0].returns[0], 0.9, 1e-15);
  EXPECT_NEAR(all[0].returns[1], 0.95, 1e-15);
  EXPECT_FALSE(all[1].learned);
  EXPECT_EQ(all[1].returns, (std::vector<double>{0, 0}));
  EXPECT_EQ(metrics.value("reward"), 1);
  EXPECT_EQ(metrics.value("objective/kl"), 1);
  EXPECT_EQ(metrics.value("completions/mean_length"), 2);
}

TEST(RolloutAdvantages, WithoutAReferenceNothingIsTakenOffAndNoDivergenceIsReported) {
  Config config = config_of("reinforce");
  config.rollout.kl_coefficient = 0;
  config.rollout.gamma = 0.5;
  std::vector<Completion> all{completion(1, 3)};
  all[0].logp.clear();
  all[0].reference_logp.clear();
  Metrics metrics;
  add_advantages(all, config, metrics);
  EXPECT_EQ(all[0].returns, (std::vector<double>{0.25, 0.5, 1}));
  EXPECT_EQ(metrics.find("objective/kl"), nullptr);
  EXPECT_EQ(metrics.value("objective/entropy"), 3);
}

TEST(RolloutAdvantages, MixerHasNoReturnsForGoldTokens) {
  std::vector<Completion> all{completion(2, 3), completion(2, 2)};
  all[0].gold_tokens = 2;
  all[1].gold_tokens = 2;
  Config config = config_of("mixer");
  config.rollout.kl_coefficient = 0;
  Metrics metrics;
  add_advantages(all, config, metrics);
  EXPECT_EQ(all[0].returns, (std::vector<double>{0, 0, 2}));
  EXPECT_EQ(all[1].returns, (std::vector<double>{0, 0}));
  EXPECT_TRUE(all[0].learned);
}

TEST(RolloutAdvantages, PpoIsWhitenedOverTheTokensThatAreLearned) {
  for (const char* place : {"last_token", "slot_after_last"}) {
    Config config = config_of("ppo");
    config.rollout.score_place = place;
    config.rollout.truncated = "mask";
    std::vector<Completion> all{completion(1, 2), completion(-1, 3), completion(9, 2, false), completion(none, 1)};
    Metrics metrics;
    add_advantages(all, config, metrics);
    const bool slot = std::string(place) == "slot_after_last";
    std::vector<double> rewards{-0.05, slot ? -0.05 : 0.95}, values{0.25, 0.25};
    if (slot) {
      rewards.push_back(1);
      values.push_back(0.25);
    }
    const Advantages expected = generalized_advantages(rewards, values, 1, 0.95);
    EXPECT_NEAR(all[0].returns[0], expected.returns[0], 1e-14);
    EXPECT_NEAR(all[0].returns[1], expected.returns[1], 1e-14);
    Moments learned;
    for (std::size_t i : {0, 1}) {
      ASSERT_EQ(all[i].token_advantages.size(), static_cast<std::size_t>(all[i].completion_tokens()));
      for (double a : all[i].token_advantages) learned.add(a);
    }
    EXPECT_NEAR(learned.mean, 0, 1e-14);
    EXPECT_NEAR(learned.variance(), 1, 1e-6);
    for (std::size_t i : {2, 3}) {
      EXPECT_FALSE(all[i].learned);
      for (double a : all[i].token_advantages) EXPECT_EQ(a, 0);
    }
  }
}

TEST(RolloutAdvantages, GroupsAreThoseOfOnePromptAndATextWithoutAnEndMayCost) {
  Config config = config_of("grpo");
  config.rollout.completions = 2;
  config.rollout.missing_end_penalty = 2;
  config.rollout.scale_rewards = "none";
  std::vector<Completion> all{completion(1, 2), completion(1, 2, false), completion(5, 2), completion(none, 2)};
  Metrics metrics;
  add_advantages(all, config, metrics);
  EXPECT_EQ(all[0].advantage, 1);
  EXPECT_EQ(all[1].advantage, -1);
  EXPECT_EQ(all[2].advantage, 0);
  EXPECT_EQ(all[3].advantage, 0);
  EXPECT_TRUE(all[3].learned) << "its distance from the reference counts";
  EXPECT_EQ(metrics.find("objective/kl"), nullptr);
}

TEST(RolloutAdvantages, RlooComparesRewardsLessTheDivergence) {
  std::vector<Completion> all{completion(1, 2), completion(0, 4)};
  Metrics metrics;
  add_advantages(all, config_of("rloo"), metrics);
  // 1 - 0.1, 0 - 0.2
  EXPECT_NEAR(all[0].advantage, 1.1, 1e-14);
  EXPECT_NEAR(all[1].advantage, -1.1, 1e-14);
  EXPECT_EQ(metrics.value("reward"), 0.5);
  EXPECT_TRUE(metrics.value("reward_std"));
}

TEST(RolloutAdvantages, MetricsHaveTheSameNamesWhateverWasSampled) {
  for (const char* kind : {"reinforce", "mixer", "ppo", "grpo", "rloo"}) {
    std::vector<Completion> some{completion(1, 2), completion(0, 2)}, nothing{completion(none, 2), completion(none, 2)};
    Config config = config_of(kind);
    config.rollout.completions = 2;
    Metrics a, b;
    add_advantages(some, config, a);
    add_advantages(nothing, config, b);
    ASSERT_EQ(a.all().size(), b.all().size()) << kind;
    for (std::size_t i = 0; i < a.all().size(); ++i) EXPECT_EQ(a.all()[i].name(), b.all()[i].name());
    EXPECT_FALSE(b.value("reward"));
  }
}

TEST(RolloutPasses, AreThoseThatSomebodyReads) {
  const auto passes = [](const std::string& kind, double kl, const Needs& needs) {
    Config config = config_of(kind);
    config.rollout.kl_coefficient = kl;
    const RolloutPasses made = rollout_passes(config, needs);
    return std::string(made.policy ? "p" : "") + (made.values ? "v" : "") + (made.reference ? "r" : "");
  };
  EXPECT_EQ(passes("grpo", 0.1, {}), "");
  EXPECT_EQ(passes("grpo", 0.1, {.reference_logp = true, .old_logp = true}), "pr");
  EXPECT_EQ(passes("rloo", 0, {}), "");
  EXPECT_EQ(passes("rloo", 0.1, {}), "pr");
  EXPECT_EQ(passes("ppo", 0.1, {.old_logp = true, .old_values = true}), "pvr");
  EXPECT_EQ(passes("ppo", 0, {.old_logp = true, .old_values = true}), "pv");
}

}  // namespace
}  // namespace nll::test
