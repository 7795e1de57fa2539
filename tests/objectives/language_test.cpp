#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/check.h"
#include "src/objectives/objective.h"

namespace nll {

namespace {

Batch batch_of(std::vector<std::int32_t> targets) {
  Batch batch;
  batch.sequences = 1;
  batch.context = static_cast<std::int64_t>(targets.size());
  batch.tokens.assign(targets.size(), 0);
  batch.targets = std::move(targets);
  return batch;
}

ObjectiveConfig config_of(double smoothing, double z_loss) {
  ObjectiveConfig config;
  config.label_smoothing = smoothing;
  config.z_loss = z_loss;
  return config;
}

}  // namespace

TEST(Language, TheCoefficientsAreTheDerivativesOfTheLoss) {
  const Batch batch = batch_of({3, -100, 5, 1});
  std::vector<float> logp{-1.5f, 0, -0.25f, -4}, maximum{2, 0, 7, -1}, log_denominator{0.5f, 0, 0.125f, 1},
      entropy{1, 0, 0.5f, 2}, mean_logp{-3, 0, -6, -2};
  std::vector<std::int32_t> argmax{3, 0, 5, 2};
  const auto objective = make_objective(config_of(0.1, 0.01));
  const std::int64_t normaliser = 7;
  const auto loss = [&] {
    const ScoredTokens scored{batch.targets, logp, maximum, log_denominator, entropy, mean_logp, argmax};
    return objective->sums(scored).objective / static_cast<double>(normaliser);
  };
  std::vector<float> coefficients(16, 99.0f);
  objective->coefficients(batch, {batch.targets, logp, maximum, log_denominator, entropy, mean_logp, argmax},
                          normaliser, coefficients);
  const float h = 0x1p-10f;
  for (std::size_t i = 0; i < 4; ++i) {
    // d/d logp, d/d lse (through ln d), d/d mean_logp, d/d entropy
    std::vector<float>* inputs[] = {&logp, &log_denominator, &mean_logp, &entropy};
    for (std::size_t k = 0; k < 4; ++k) {
      float& x = (*inputs[k])[i];
      const float at = x;
      x = at + h;
      const double above = loss();
      x = at - h;
      const double below = loss();
      x = at;
      EXPECT_NEAR(coefficients[4 * i + k], (above - below) / (2 * static_cast<double>(h)), 1e-6)
          << "token " << i << " coefficient " << k;
    }
  }
  for (std::size_t k = 0; k < 4; ++k) EXPECT_EQ(coefficients[4 + k], 0.0f) << "an ignored target has no coefficient";
}

TEST(Language, SumsCountValidTokensOnlyAndAddUpOverAnySplit) {
  const std::vector<std::int32_t> targets{3, -100, 5, 1}, argmax{3, 9, 5, 2};
  const std::vector<float> logp{-1.5f, -9, -0.25f, -4}, zero(4, 0.0f), entropy{1, 9, 0.5f, 2};
  const auto objective = make_objective(config_of(0, 0));
  const auto sums_of = [&](std::size_t begin, std::size_t count) {
    const auto part = [&](const std::vector<float>& v) { return std::span<const float>(v).subspan(begin, count); };
    return objective->sums({std::span<const std::int32_t>(targets).subspan(begin, count), part(logp), part(zero),
                            part(zero), part(entropy), part(zero),
                            std::span<const std::int32_t>(argmax).subspan(begin, count)});
  };
  const ObjectiveSums whole = sums_of(0, 4);
  EXPECT_EQ(whole.tokens, 3);
  EXPECT_EQ(whole.correct, 2);
  EXPECT_DOUBLE_EQ(whole.nll, 5.75);
  EXPECT_DOUBLE_EQ(whole.objective, 5.75);
  EXPECT_DOUBLE_EQ(whole.entropy, 3.5);
  ObjectiveSums parts = sums_of(0, 1);
  parts += sums_of(1, 2);
  parts += sums_of(3, 1);
  EXPECT_EQ(parts.tokens, whole.tokens);
  EXPECT_DOUBLE_EQ(parts.nll, whole.nll);
}

TEST(Language, OnlyZLossNeedsAForwardPassBeforeItsWeightsAreKnown) {
  EXPECT_TRUE(make_objective(config_of(0, 0))->one_pass());
  EXPECT_TRUE(make_objective(config_of(0.1, 0))->one_pass());
  EXPECT_FALSE(make_objective(config_of(0, 1e-4))->one_pass());
}

TEST(Language, AStepGivesTheWeightsAndTheLossOfItsMicroBatches) {
  const Batch batch = batch_of({3, -100, 5, 1});
  const std::vector<float> logp{-1.5f, 0, -0.25f, -4}, maximum{2, 0, 7, -1}, log_denominator{0.5f, 0, 0.125f, 1},
      entropy{1, 0, 0.5f, 2}, mean_logp{-3, 0, -6, -2};
  const std::vector<std::int32_t> argmax{3, 0, 5, 2};
  const ScoredTokens scored{batch.targets, logp, maximum, log_denominator, entropy, mean_logp, argmax};
  const auto objective = make_objective(config_of(0.1, 0.01));
  std::vector<float> expected(16);
  objective->coefficients(batch, scored, 3, expected);
  const MicroBatch parts[] = {{.batch = &batch, .scored = scored}};
  const Step step(parts);
  std::vector<double> coefficients(16, 99.0);
  const StepSums sums = objective->weigh(step, {count(step), {}}, {coefficients, {}});
  for (std::size_t i = 0; i < 16; ++i) EXPECT_EQ(static_cast<float>(coefficients[i]), expected[i]) << i;
  const ObjectiveSums by_batch = objective->sums(scored);
  EXPECT_NEAR(sums.loss, by_batch.objective / 3, 1e-15);
  EXPECT_EQ(sums.tokens.tokens, by_batch.tokens);
  EXPECT_EQ(sums.tokens.correct, by_batch.correct);
  EXPECT_EQ(sums.tokens.nll, by_batch.nll);
  EXPECT_EQ(sums.tokens.entropy, by_batch.entropy);
}

TEST(Language, NoValidTokenGivesZeroAndNotANumber) {
  const Batch batch = batch_of({-100, -100});
  std::vector<float> coefficients(8, 99.0f);
  make_objective(config_of(0.1, 0))->coefficients(batch, {}, 0, coefficients);
  for (float c : coefficients) EXPECT_EQ(c, 0.0f);
}

TEST(Language, AnUnknownObjectiveIsRefusedByName) {
  ObjectiveConfig config;
  config.kind = "luck";
  EXPECT_THROW(make_objective(config), Error);
}

}  // namespace nll
