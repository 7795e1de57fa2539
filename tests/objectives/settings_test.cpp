// What a config says reaches the constants of the objectives.
#include "src/objectives/settings.h"

#include <gtest/gtest.h>

#include "kernels/check.h"
#include "src/objectives/objective.h"
#include "src/objectives/scheduled_sampling.h"

namespace nll {
namespace {

// Every number and choice of the settings, in the order of their declaration.
std::vector<double> numbers(const ObjectiveSettings& s) {
  const auto number = [](auto value) { return static_cast<double>(value); };
  std::vector<double> all = {s.label_smoothing,
                             s.z_loss,
                             s.entropy_bonus,
                             number(s.sft.loss),
                             number(s.sft.reduction),
                             s.dpo.beta,
                             s.dpo.label_smoothing,
                             s.simpo.beta,
                             s.simpo.gamma,
                             s.simpo.nll_weight,
                             s.cpo.beta,
                             s.cpo.nll_weight,
                             s.orpo.beta,
                             number(s.orpo.nll_on_prompt),
                             s.kto.beta,
                             s.kto.desirable_weight,
                             s.kto.undesirable_weight,
                             number(s.kto.baseline),
                             s.contrastive.temperature,
                             number(s.contrastive.length_normalise),
                             number(s.contrastive.reference),
                             s.reward.center_coefficient,
                             number(s.reinforce.learned_baseline),
                             s.ppo.clip_range,
                             s.ppo.value_clip_range,
                             s.ppo.value_coefficient,
                             number(s.ppo.learn_values),
                             s.grpo.epsilon,
                             s.grpo.epsilon_high.value_or(-1),
                             s.grpo.delta.value_or(-1),
                             s.grpo.beta,
                             number(s.grpo.aggregation),
                             number(s.grpo.max_completion_tokens),
                             s.grpo.ratio_cap,
                             number(s.grpo.one_update),
                             s.rloo.epsilon,
                             s.rloo.epsilon_high.value_or(-1),
                             number(s.rloo.one_update)};
  for (const WeightedPairLoss& loss : s.dpo.losses) {
    all.push_back(number(loss.loss));
    all.push_back(loss.weight);
  }
  return all;
}

TEST(ObjectiveSettings, OfADefaultConfigAreTheDefaultsForEveryKind) {
  for (const std::string& kind : objective_kinds()) {
    ObjectiveConfig config;
    config.kind = kind;
    const ObjectiveSettings settings = objective_settings(config, {});
    ObjectiveSettings expected;
    expected.grpo.max_completion_tokens = RolloutConfig{}.max_tokens;  // the one constant that is another section's
    EXPECT_EQ(settings.kind, kind);
    EXPECT_EQ(numbers(settings), numbers(expected)) << kind;
    EXPECT_NO_THROW(make_objective(config, {})) << kind;
  }
}

TEST(ObjectiveSettings, EachKeyReachesItsSetting) {
  ObjectiveConfig config;
  config.kind = "dpo";
  config.label_smoothing = 0.01;
  config.z_loss = 0.02;
  config.entropy_bonus = 0.03;
  config.sft = {"unlikelihood", "sequence_mean"};
  config.dpo = {0.04, 0.05, {"0.5 hinge", "sigmoid_norm", "2 sft"}};
  config.simpo = {0.06, 0.07, 0.08};
  config.cpo = {0.09, 0.10};
  config.orpo = {0.11, true};
  config.kto = {0.12, 0.13, 0.14, "step"};
  config.contrastive = {0.15, true, true};
  config.reward = {0.16};
  config.reinforce = {true};
  config.ppo = {0.17, 0.18, 0.19};
  config.grpo = {"dr_grpo", 0.20, 0.21, 1.22, 0.23, 0.24};
  RolloutConfig rollout;
  rollout.max_tokens = 99;
  rollout.epochs = 2;
  const std::vector<double> expected = {0.01, 0.02, 0.03, 2,    1,    0.04, 0.05, 0.06, 0.07, 0.08, 0.09,
                                        0.10, 0.11, 1,    0.12, 0.13, 0.14, 1,    0.15, 1,    1,    0.16,
                                        1,    0.17, 0.18, 0.19, 1,    0.20, 0.21, 1.22, 0.23, 3,    99,
                                        0.24, 0,    0.20, 0.21, 0,    2,    0.5,  5,    1,    6,    2};
  EXPECT_EQ(numbers(objective_settings(config, rollout)), expected);
}

TEST(ObjectiveSettings, EveryNameOfAnEnumHasItsPlace) {
  ObjectiveConfig config;
  config.kind = "dpo";
  const std::vector<PairLoss> losses = {PairLoss::sigmoid, PairLoss::robust,       PairLoss::hinge, PairLoss::ipo,
                                        PairLoss::ipo_sum, PairLoss::sigmoid_norm, PairLoss::sft};
  const char* names[] = {"sigmoid", "robust", "hinge", "ipo", "ipo_sum", "sigmoid_norm", "sft"};
  for (std::size_t i = 0; i < losses.size(); ++i) {
    config.dpo.losses = {names[i]};
    EXPECT_EQ(objective_settings(config, {}).dpo.losses.at(0).loss, losses[i]) << names[i];
  }
  for (const auto& [name, loss] : {std::pair{"nll", SupervisedLoss::nll}, std::pair{"dft", SupervisedLoss::dft},
                                   std::pair{"unlikelihood", SupervisedLoss::unlikelihood}}) {
    config.sft.loss = name;
    EXPECT_EQ(objective_settings(config, {}).sft.loss, loss) << name;
  }
  for (const auto& [name, aggregation] :
       {std::pair{"grpo", GroupAggregation::grpo}, std::pair{"bnpo", GroupAggregation::bnpo},
        std::pair{"dapo", GroupAggregation::dapo}, std::pair{"dr_grpo", GroupAggregation::dr_grpo}}) {
    config.grpo.aggregation = name;
    EXPECT_EQ(objective_settings(config, {}).grpo.aggregation, aggregation) << name;
  }
}

TEST(ObjectiveSettings, OneUpdateIsOneEpochOfOneMiniBatch) {
  for (const auto& [epochs, mini_batches] : {std::pair{1, 1}, std::pair{1, 2}, std::pair{2, 1}}) {
    RolloutConfig rollout;
    rollout.epochs = epochs;
    rollout.mini_batches = mini_batches;
    const ObjectiveSettings settings = objective_settings({}, rollout);
    EXPECT_EQ(settings.grpo.one_update, epochs * mini_batches == 1);
    EXPECT_EQ(settings.rloo.one_update, epochs * mini_batches == 1);
  }
}

TEST(ObjectiveSettings, LossesThatAreNoneAreRefusedForDpo) {
  ObjectiveConfig config;
  config.dpo.losses = {"x"};
  EXPECT_NO_THROW(objective_settings(config, {}));
  config.kind = "dpo";
  EXPECT_THROW(objective_settings(config, {}), Error);
}

TEST(ScheduledSampling, OfAConfigIsOffUnlessADecayIsNamed) {
  ScheduledSamplingConfig config;
  EXPECT_FALSE(scheduled_sampling(config).has_value());
  for (const auto& [name, decay] :
       {std::pair{"linear", GoldDecay::linear}, std::pair{"exponential", GoldDecay::exponential},
        std::pair{"inverse_sigmoid", GoldDecay::inverse_sigmoid}}) {
    config = {name, 0.9, 0.1, 0.2};
    const std::optional<ScheduledSampling> settings = scheduled_sampling(config);
    ASSERT_TRUE(settings.has_value());
    EXPECT_EQ(settings->decay, decay);
    EXPECT_EQ(settings->k, 0.9);
    EXPECT_EQ(settings->slope, 0.1);
    EXPECT_EQ(settings->floor, 0.2);
  }
}

}  // namespace
}  // namespace nll
