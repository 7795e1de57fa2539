// Rewards and advantages of rollouts.
#include "src/objectives/advantages.h"

#include <cmath>
#include <limits>

#include "src/objectives/rewards.h"
#include "tests/objectives/rig.h"

namespace nll::test {
namespace {

using nlohmann::json;
constexpr double none = std::numeric_limits<double>::quiet_NaN();

std::vector<float> floats(const json& row) { return row.get<std::vector<float>>(); }

TEST(Advantages, RewardsEstimatesAndWhiteningGiveTheirReferenceVectors) {
  const json& c = vectors()["rl_preprocess"][0];
  const json &in = c["inputs"], &hyper = c["hyper"];
  ASSERT_EQ(c["outputs"].size(), 4u);
  for (const json& out : c["outputs"]) {
    RewardShaping shaping;
    shaping.kl_coefficient = hyper["kl_coef"].get<double>();
    shaping.estimator = out["kl_estimator"] == "k1" ? KlEstimator::k1 : KlEstimator::k3;
    const bool slot = out["score_place"] == "trl_slot_after_last";
    shaping.place = slot ? ScorePlace::slot_after_last : ScorePlace::last_token;
    SCOPED_TRACE(out["kl_estimator"].get<std::string>() + (slot ? ", slot after last" : ", last token"));
    Reals all;
    Metrics metrics;
    for (std::size_t i = 0; i < 2; ++i) {
      const Reals rewards = shaped_rewards(floats(in["old_logps"][i]), floats(in["ref_logps"][i]),
                                           in["scores"][i].get<double>(), true, shaping, metrics);
      expect_close(rewards, out["rewards"][i].get<Reals>(), "rewards");
      Reals values = in["values"][i].get<Reals>();
      const std::size_t tokens = values.size();
      if (slot) values.push_back(in["value_after_last"][i].get<double>());
      const Advantages found =
          generalized_advantages(rewards, values, hyper["gamma"].get<double>(), hyper["lam"].get<double>());
      expect_close(found.advantages, out["advantages"][i].get<Reals>(), "advantages");
      expect_close(found.returns, out["returns"][i].get<Reals>(), "returns");
      all.insert(all.end(), found.advantages.begin(), found.advantages.begin() + static_cast<std::ptrdiff_t>(tokens));
    }
    whiten(all, moments_of(all));
    Reals expected;
    for (const json& row : out["whitened_advantages"]) expected.insert(expected.end(), row.begin(), row.end());
    expect_close(all, expected, "whitened");
    expect_close(*metrics.value("objective/scores"), 0.375, "scores");
  }
}

TEST(Advantages, GroupsGiveTheirReferenceVectors) {
  const json& c = vectors()["rl_preprocess"][1];
  for (const json& group : c["groups"]) {
    const Reals rewards = group["rewards"].get<Reals>();
    Metrics metrics, spare;
    expect_close(group_advantages(rewards, 4, RewardScale::group, metrics), group["group"].get<Reals>(), "group");
    expect_close(group_advantages(rewards, 4, RewardScale::none, spare), group["none"].get<Reals>(), "none");
    expect_close(leave_one_out(rewards, 4, false, spare), group["rloo"].get<Reals>(), "leave one out");
    expect_close(*metrics.value("reward"), group["mean"].get<double>(), "mean");
    expect_close(*metrics.value("reward_std"), group["std"].get<double>(), "std");
  }
}

TEST(Advantages, AGroupOfEqualRewardsHasNoneAndIsReported) {
  // 0.1 has no exact mean in binary: the advantage is zero all the same.
  const Reals rewards{0.1, 0.1, 0.1, 1.0, 0.0, 0.5};
  for (RewardScale scale : {RewardScale::group, RewardScale::batch, RewardScale::none}) {
    Metrics metrics;
    const Reals advantages = group_advantages(rewards, 3, scale, metrics);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(advantages[i], 0);
    EXPECT_GT(advantages[3], 0);
    EXPECT_DOUBLE_EQ(*metrics.value("frac_reward_zero_std"), 0.5);
  }
  Metrics metrics;
  EXPECT_EQ(leave_one_out(rewards, 3, false, metrics)[1], 0);
}

TEST(Advantages, BatchScalingDividesByTheDeviationOfAllRewards) {
  const Reals rewards{0, 1, 0, 3};
  Metrics metrics;
  const Reals advantages = group_advantages(rewards, 2, RewardScale::batch, metrics);
  expect_close(advantages[3], 1.5 / (std::sqrt(2.0) + 1e-4), "advantage");
}

TEST(Advantages, AnUnscorableCompletionIsNotAZero) {
  const Reals rewards{1, none, 3, none, none, none, 7, none, none};
  Metrics metrics;
  const Reals advantages = group_advantages(rewards, 3, RewardScale::none, metrics);
  EXPECT_EQ(advantages, (Reals{-1, 0, 1, 0, 0, 0, 0, 0, 0}));
  EXPECT_DOUBLE_EQ(*metrics.value("reward"), 11.0 / 3);
  EXPECT_EQ(leave_one_out(rewards, 3, false, metrics), (Reals{-2, 0, 2, 0, 0, 0, 0, 0, 0}));
  for (double a : leave_one_out(rewards, 3, true, metrics)) EXPECT_TRUE(std::isfinite(a));
  for (double a : group_advantages(rewards, 3, RewardScale::group, metrics)) EXPECT_TRUE(std::isfinite(a));
}

TEST(Advantages, NoCompletionsNoTokensAndSingleTokensStayFinite) {
  Metrics metrics;
  EXPECT_TRUE(group_advantages({}, 4, RewardScale::group, metrics).empty());
  EXPECT_TRUE(generalized_advantages({}, {}).advantages.empty());
  EXPECT_TRUE(rewards_to_go({}).empty());
  EXPECT_FALSE(metrics.value("reward").has_value());
  Reals one{3.5};
  whiten(one, moments_of(one));
  EXPECT_EQ(one[0], 0) << "the mean of one number is itself";
}

TEST(Advantages, LeaveOneOutIsNormalisedOverAllGroups) {
  Metrics metrics;
  const Reals advantages = leave_one_out(Reals{1, 0, 5, 0}, 2, true, metrics);
  EXPECT_NEAR(moments_of(advantages).mean, 0, 1e-15);
  EXPECT_NEAR(moments_of(advantages).variance(), 1, 1e-3);
}

TEST(Advantages, MomentsOfRanksAddUpToThoseOfAll) {
  const Reals x{1, -2, 3.5, 8, 0.25};
  Moments parts = moments_of(std::span(x).first(2));
  parts += moments_of(std::span(x).subspan(2));
  parts += Moments{};
  const Moments all = moments_of(x);
  EXPECT_NEAR(parts.mean, all.mean, 1e-15);
  EXPECT_NEAR(parts.variance(), all.variance(), 1e-14);
  Reals kept = x;
  whiten(kept, all, false);
  EXPECT_NEAR(moments_of(kept).mean, all.mean, 1e-14) << "without the shift the mean stays";
}

TEST(Advantages, RewardsToGoAreReturnsWithoutAValueModel) {
  EXPECT_EQ(rewards_to_go(Reals{1, 2, 4}, 0.5), (Reals{3, 4, 4}));
  const Reals rewards{0.25, -1, 2}, zero(3, 0.0);
  EXPECT_EQ(generalized_advantages(rewards, zero, 0.5, 1).returns, rewards_to_go(rewards, 0.5));
}

TEST(Rewards, ACompletionThatDidNotEndPaysForIt) {
  RewardShaping shaping;
  shaping.missing_end_penalty = 1.5;
  Metrics metrics;
  const std::vector<float> logp{-1, -2};
  EXPECT_EQ(shaped_rewards(logp, logp, 2, true, shaping, metrics), (Reals{0, 2}));
  EXPECT_EQ(shaped_rewards(logp, logp, 2, false, shaping, metrics), (Reals{0, 0.5}));
  EXPECT_DOUBLE_EQ(*metrics.value("objective/entropy"), 3);
  EXPECT_DOUBLE_EQ(*metrics.value("objective/kl"), 0);
}

TEST(Rewards, K3IsNeverNegativeAndK1IsTheLogRatio) {
  for (double d : {-2.0, -1e-9, 0.0, 1e-9, 3.0}) {
    EXPECT_GE(kl_estimate(KlEstimator::k3, d, 0), 0);
    EXPECT_EQ(kl_estimate(KlEstimator::k1, d, 0), d);
  }
}

TEST(Rewards, EachFunctionReportsMeanAndDeviationOfWhatItCouldScore) {
  Metrics metrics;
  report_rewards("format", Reals{1, none, 3}, metrics);
  EXPECT_EQ(metrics.value("rewards/format/mean"), 2.0);
  EXPECT_DOUBLE_EQ(*metrics.value("rewards/format/std"), std::sqrt(2.0));
  report_rewards("length", {}, metrics);
  EXPECT_FALSE(metrics.value("rewards/length/mean").has_value());
}

TEST(Completions, LengthsAreReportedWithAndWithoutTheCutOnes) {
  Metrics metrics;
  report_completion(10, true, metrics);
  report_completion(64, false, metrics);
  report_completion(20, true, metrics);
  EXPECT_DOUBLE_EQ(*metrics.value("completions/mean_length"), 94.0 / 3);
  EXPECT_EQ(metrics.value("completions/max_length"), 64.0);
  EXPECT_EQ(metrics.value("completions/mean_terminated_length"), 15.0);
  EXPECT_EQ(metrics.value("completions/max_terminated_length"), 20.0);
  EXPECT_EQ(metrics.value("completions/min_length"), 10.0);
  EXPECT_DOUBLE_EQ(*metrics.value("completions/clipped_ratio"), 1.0 / 3);
}

}  // namespace
}  // namespace nll::test
