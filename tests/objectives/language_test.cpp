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

// Four tokens, one of them ignored.
struct Scores {
  Batch batch = batch_of({3, -100, 5, 1});
  std::vector<float> logp{-1.5f, 0, -0.25f, -4}, maximum{2, 0, 7, -1}, log_denominator{0.5f, 0, 0.125f, 1},
      entropy{1, 0, 0.5f, 2}, mean_logp{-3, 0, -6, -2};
  std::vector<std::int32_t> argmax{3, 0, 5, 2};

  StepSums weigh(const Objective& objective, const StepTotals& totals, std::span<double> coefficients = {}) const {
    const MicroBatch parts[] = {
        {.batch = &batch, .scored = {batch.targets, logp, maximum, log_denominator, entropy, mean_logp, argmax}}};
    return objective.weigh(Step(parts), totals, {coefficients, {}});
  }
};

ObjectiveConfig config_of(double smoothing, double z_loss) {
  ObjectiveConfig config;
  config.label_smoothing = smoothing;
  config.z_loss = z_loss;
  return config;
}

}  // namespace

TEST(Language, TheCoefficientsAreTheDerivativesOfTheLoss) {
  Scores scores;
  const auto objective = make_objective(config_of(0.1, 0.01));
  const StepTotals totals{.counts = {.tokens = 7}, .statistics = {}};
  const auto loss = [&] { return scores.weigh(*objective, totals).loss; };
  std::vector<double> coefficients(16, 99.0);
  scores.weigh(*objective, totals, coefficients);
  const float h = 0x1p-10f;
  for (std::size_t i = 0; i < 4; ++i) {
    // d/d logp, d/d lse (through ln d), d/d mean_logp, d/d entropy
    std::vector<float>* inputs[] = {&scores.logp, &scores.log_denominator, &scores.mean_logp, &scores.entropy};
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
  for (std::size_t k = 0; k < 4; ++k) EXPECT_EQ(coefficients[4 + k], 0.0) << "an ignored target has no coefficient";
}

TEST(Language, SumsCountValidTokensOnly) {
  Scores scores;
  const StepSums sums = scores.weigh(*make_objective(config_of(0, 0)), {.counts = {.tokens = 3}, .statistics = {}});
  EXPECT_EQ(sums.tokens.tokens, 3);
  EXPECT_EQ(sums.tokens.correct, 2);
  EXPECT_DOUBLE_EQ(sums.tokens.nll, 5.75);
  EXPECT_DOUBLE_EQ(sums.loss, 5.75 / 3);
  EXPECT_DOUBLE_EQ(sums.tokens.entropy, 3.5);
}

TEST(Language, OnlyZLossNeedsAForwardPassBeforeItsWeightsAreKnown) {
  EXPECT_TRUE(make_objective(config_of(0, 0))->one_pass());
  EXPECT_TRUE(make_objective(config_of(0.1, 0))->one_pass());
  EXPECT_FALSE(make_objective(config_of(0, 1e-4))->one_pass());
}

TEST(Language, NoValidTokenGivesZeroAndNotANumber) {
  Scores scores;
  scores.batch.targets.assign(4, -100);
  std::vector<double> coefficients(16, 99.0);
  EXPECT_EQ(scores.weigh(*make_objective(config_of(0.1, 0)), {}, coefficients).loss, 0);
  for (double c : coefficients) EXPECT_EQ(c, 0.0);
}

TEST(Language, AnUnknownObjectiveIsRefusedByName) {
  ObjectiveConfig config;
  config.kind = "luck";
  EXPECT_THROW(make_objective(config), Error);
}

}  // namespace nll
