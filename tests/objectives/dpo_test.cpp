#include <cmath>
#include <numbers>

#include "kernels/check.h"
#include "tests/objectives/rig.h"

namespace nll::test {
namespace {

ObjectiveSettings settings_for(const nlohmann::json& c, std::vector<WeightedPairLoss> losses) {
  ObjectiveSettings settings = settings_of("dpo");
  settings.dpo.beta = c["hyper"]["beta"].get<double>();
  settings.dpo.label_smoothing = c["hyper"].value("label_smoothing", 0.0);
  settings.dpo.losses = std::move(losses);
  return settings;
}

void expect_case(const std::string& name, std::vector<WeightedPairLoss> losses) {
  SCOPED_TRACE(name);
  const nlohmann::json& c = vector_case(name);
  const auto objective = make_objective(settings_for(c, std::move(losses)));
  const Outcome outcome = weigh(*objective, pairs_of_case(c));
  expect_sums(outcome, c);
  expect_pair_gradients(outcome, c);
}

TEST(Dpo, EveryLossGivesItsReferenceVectors) {
  expect_case("dpo_sigmoid", {{PairLoss::sigmoid, 1}});
  expect_case("dpo_sigmoid_beta0.1", {{PairLoss::sigmoid, 1}});
  expect_case("dpo_cdpo", {{PairLoss::sigmoid, 1}});
  expect_case("dpo_robust", {{PairLoss::robust, 1}});
  expect_case("dpo_hinge", {{PairLoss::hinge, 1}});
  expect_case("dpo_ipo", {{PairLoss::ipo, 1}});
  expect_case("dpo_ipo_sum", {{PairLoss::ipo_sum, 1}});
  expect_case("dpo_sigmoid_norm", {{PairLoss::sigmoid_norm, 1}});
  expect_case("dpo_sigmoid_plus_sft", {{PairLoss::sigmoid, 1}, {PairLoss::sft, 0.25}});
}

TEST(Dpo, SaturatedMarginsNeitherOverflowNorLoseTheirGradient) {
  expect_case("dpo_saturated", {{PairLoss::sigmoid, 1}});
  const nlohmann::json& c = vector_case("dpo_saturated");
  for (PairLoss loss : {PairLoss::robust, PairLoss::hinge, PairLoss::ipo, PairLoss::ipo_sum, PairLoss::sigmoid_norm}) {
    const Outcome outcome = weigh(*make_objective(settings_for(c, {{loss, 1}})), pairs_of_case(c));
    EXPECT_TRUE(std::isfinite(outcome.sums.loss));
    for (const RowGradient& row : outcome.rows) EXPECT_TRUE(std::isfinite(row.logp[0]));
  }
}

TEST(Dpo, TheFirstStepIsLn2WithMarginAndAccuracyZero) {
  expect_case("dpo_step0", {{PairLoss::sigmoid, 1}});
  const nlohmann::json& c = vector_case("dpo_step0");
  const Outcome outcome = weigh(*make_objective(settings_for(c, {{PairLoss::sigmoid, 1}})), pairs_of_case(c));
  EXPECT_DOUBLE_EQ(outcome.sums.loss, std::numbers::ln2);
  EXPECT_EQ(outcome.sums.metrics.value("rewards/accuracies"), 0.0);
  EXPECT_EQ(outcome.sums.metrics.value("rewards/margins"), 0.0);
}

TEST(Dpo, CachedReferenceSumsGiveWhatReferenceTokensGive) {
  const nlohmann::json& c = vector_case("dpo_ipo");
  const auto objective = make_objective(settings_for(c, {{PairLoss::ipo, 1}}));
  std::vector<Row> rows = pairs_of_case(c);
  const Outcome by_token = weigh(*objective, rows);
  for (Row& row : rows) {
    double sum = 0;
    for (double logp : row.reference) sum += logp;
    row.reference_sum = sum;
    row.reference.clear();
  }
  const Outcome by_sum = weigh(*objective, rows);
  EXPECT_EQ(by_sum.sums.loss, by_token.sums.loss);
  for (std::size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(by_sum.rows[i].logp, by_token.rows[i].logp);
}

TEST(Dpo, MeanLogitsAreThoseOfTheCompletionTokens) {
  const nlohmann::json& c = vector_case("dpo_sigmoid");
  const Outcome outcome = weigh(*make_objective(settings_of("dpo")), pairs_of_case(c));
  expect_metric(outcome, "logits/chosen", -3.0 + 1.25 + 0.5);
  expect_metric(outcome, "logits/rejected", -3.0 + 1.25 + 0.5);
}

TEST(Dpo, SettingsThatHaveNoLossAreRefused) {
  ObjectiveSettings settings = settings_of("dpo");
  settings.dpo.label_smoothing = 0.5;
  EXPECT_NO_THROW(make_objective(settings));
  settings.dpo.losses = {{PairLoss::robust, 1}};
  EXPECT_THROW(make_objective(settings), Error);
  settings.dpo = {};
  settings.dpo.losses.clear();
  EXPECT_THROW(make_objective(settings), Error);
  settings.dpo = {};
  settings.dpo.beta = 0;
  EXPECT_THROW(make_objective(settings), Error);
}

TEST(Dpo, HalfAPairIsAFaultOfTheProgram) {
  std::vector<Row> rows = pairs_of_case(vector_case("dpo_sigmoid"));
  rows.pop_back();
  EXPECT_THROW(weigh(*make_objective(settings_of("dpo")), rows), std::logic_error);
}

}  // namespace
}  // namespace nll::test
