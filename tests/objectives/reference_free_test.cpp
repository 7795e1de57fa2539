// SimPO, CPO and ORPO.
#include <cmath>
#include <numbers>

#include "src/objectives/logistic.h"
#include "tests/objectives/rig.h"

namespace nll::test {
namespace {

TEST(Simpo, GivesItsReferenceVector) {
  const nlohmann::json& c = vector_case("simpo");
  ObjectiveSettings settings = settings_of("simpo");
  settings.simpo = {c["hyper"]["beta"].get<double>(), c["hyper"]["gamma"].get<double>(), 0};
  const Outcome outcome = weigh(*make_objective(settings), pairs_of_case(c));
  expect_sums(outcome, c);
  expect_pair_gradients(outcome, c);
}

TEST(Cpo, IsASigmoidOfSumsPlusTheChosenLikelihood) {
  const std::vector<Row> rows = pairs_of_case(vector_case("simpo"));
  ObjectiveSettings settings = settings_of("cpo");
  settings.cpo = {0.5, 0.75};
  const auto objective = make_objective(settings);
  const Outcome outcome = weigh(*objective, rows);
  double expected = 0, tokens = 0, nll = 0;
  for (std::size_t i = 0; i < rows.size(); i += 2) {
    double chosen = 0, rejected = 0;
    for (double logp : rows[i].logp) chosen += logp;
    for (double logp : rows[i + 1].logp) rejected += logp;
    expected += std::log1p(std::exp(-0.5 * (chosen - rejected))) / 2;
    nll -= chosen;
    tokens += static_cast<double>(rows[i].logp.size());
  }
  expect_close(outcome.sums.loss, expected + 0.75 * nll / tokens, "loss");
  expect_metric(outcome, "nll_loss", nll / tokens);
  expect_derivatives(*objective, rows);
}

void expect_orpo(const std::string& name) {
  SCOPED_TRACE(name);
  const nlohmann::json& c = vector_case(name);
  ObjectiveSettings settings = settings_of("orpo");
  settings.orpo = {c["hyper"]["beta"].get<double>(), c["hyper"]["nll_on_prompt"].get<bool>()};
  std::vector<Row> rows = pairs_of_case(c);
  // TRL's form needs the prompt's log-probabilities; the other must not read them even where they are.
  for (Row& row : rows) row.count_prompt = true;
  const Outcome outcome = weigh(*make_objective(settings), rows);
  expect_sums(outcome, c);
  expect_pair_gradients(outcome, c);
  for (std::size_t i = 0; i < rows.size(); i += 2) {
    const Reals none(rows[i].prompt.size(), 0.0);
    expect_close(outcome.rows[i].prompt, c["grad"].contains("prompt") ? c["grad"]["prompt"][i / 2].get<Reals>() : none,
                 "prompt");
    expect_close(outcome.rows[i + 1].prompt, none, "the rejected side's prompt takes no part");
  }
}

TEST(Orpo, GivesItsReferenceVectorsWithAndWithoutThePrompt) {
  expect_orpo("orpo");
  expect_orpo("orpo_nll_on_prompt");
}

TEST(Orpo, KeepsItsDigitsNearCertainty) { expect_orpo("orpo_confident"); }

TEST(Orpo, ACertainAnswerGivesFiniteNumbers) {
  for (const Reals& chosen : {Reals{0.0}, Reals{-1.0}}) {
    for (const Reals& rejected : {Reals{0.0, 0.0}, Reals{-0.5}}) {
      const Outcome outcome =
          weigh(*make_objective(settings_of("orpo")), {{.logp = chosen}, {.logp = rejected, .role = 1}});
      EXPECT_TRUE(std::isfinite(outcome.sums.loss));
      for (const RowGradient& row : outcome.rows) {
        for (double g : row.logp) EXPECT_TRUE(std::isfinite(static_cast<float>(g)));
      }
    }
  }
}

TEST(Logistic, Log1mexpKeepsItsDigitsAtBothEnds) {
  // log(1 - e^-x) = log x - x/2 + x^2/24 - ... for small x; -e^-x for large.
  for (double x : {1e-3, 1e-8, 1e-15, 1e-30}) {
    EXPECT_NEAR(log1mexp(-x) / (std::log(x) - x / 2 + x * x / 24), 1, 1e-14) << x;
  }
  for (double x : {40.0, 100.0, 700.0}) EXPECT_NEAR(log1mexp(-x) / -std::exp(-x), 1, 1e-14) << x;
  EXPECT_NEAR(log1mexp(-std::numbers::ln2), -std::numbers::ln2, 1e-15);
  EXPECT_EQ(below_certainty(-1.0), -1.0);
  EXPECT_LT(below_certainty(0.0), 0.0);
}

TEST(Logistic, SigmoidsOfLargeNumbersNeitherOverflowNorVanish) {
  for (double x : {0.0, 1.0, 30.0, 700.0, 4000.0}) {
    EXPECT_NEAR(sigmoid(x) + sigmoid(-x), 1, 1e-15) << x;
    EXPECT_NEAR(log_sigmoid(x) - log_sigmoid(-x), x, 1e-12 * std::max(1.0, x)) << x;
  }
  EXPECT_GT(sigmoid(-700), 0);
}

}  // namespace
}  // namespace nll::test
