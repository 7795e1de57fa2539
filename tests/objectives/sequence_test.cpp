// The contrastive objective and the reward model.
#include <cmath>
#include <numbers>

#include "kernels/check.h"
#include "tests/objectives/rig.h"

namespace nll::test {
namespace {

std::vector<Row> candidates_of(const nlohmann::json& c) {
  std::vector<Row> rows;
  for (std::size_t i = 0; i < c["inputs"]["positive"].size(); ++i) {
    const auto record = static_cast<std::int64_t>(i);
    rows.push_back({.logp = c["inputs"]["positive"][i].get<Reals>(), .record = record});
    std::int32_t role = 0;
    for (const auto& negative : c["inputs"]["negatives"][i]) {
      rows.push_back({.logp = negative.get<Reals>(), .record = record, .role = ++role});
    }
  }
  return rows;
}

TEST(Contrastive, GivesItsReferenceVectors) {
  for (const char* name : {"infonce_sum", "infonce_mean_tau0.5"}) {
    SCOPED_TRACE(name);
    const nlohmann::json& c = vector_case(name);
    ObjectiveSettings settings = settings_of("contrastive");
    settings.contrastive = {c["hyper"]["temperature"].get<double>(), c["hyper"]["length_normalise"].get<bool>(), false};
    const Outcome outcome = weigh(*make_objective(settings), candidates_of(c));
    expect_sums(outcome, c);
    for (std::size_t i = 0; i < 2; ++i) {
      expect_close(outcome.rows[4 * i].logp, c["grad"]["positive"][i].get<Reals>(), "positive");
      for (std::size_t k = 0; k < 3; ++k) {
        expect_close(outcome.rows[4 * i + 1 + k].logp, c["grad"]["negatives"][i][k].get<Reals>(), "negative");
      }
    }
  }
}

TEST(Contrastive, OneNegativeAndTheReferenceIsDpo) {
  const nlohmann::json& c = vector_case("dpo_sigmoid");
  ObjectiveSettings settings = settings_of("contrastive");
  settings.contrastive = {1 / c["hyper"]["beta"].get<double>(), false, true};
  const Outcome outcome = weigh(*make_objective(settings), pairs_of_case(c));
  expect_close(outcome.sums.loss, c["loss"].get<double>(), "loss");
  expect_pair_gradients(outcome, c);
  expect_metric(outcome, "accuracy", 1);
}

TEST(Contrastive, AtTheReferenceEveryCandidateHasItsEqualShare) {
  std::vector<Row> rows = candidates_of(vector_case("infonce_sum"));
  for (Row& row : rows) row.reference = row.logp;
  ObjectiveSettings settings = settings_of("contrastive");
  settings.contrastive.reference = true;
  const Outcome outcome = weigh(*make_objective(settings), rows);
  EXPECT_DOUBLE_EQ(outcome.sums.loss, std::log(4));
  expect_metric(outcome, "positive_probability", 0.25);
  expect_metric(outcome, "candidate_entropy", std::log(4));
  expect_metric(outcome, "accuracy", 0);
}

TEST(Contrastive, HopelessAndCertainRecordsStayFinite) {
  const std::vector<Row> rows{{.logp = {-4000}},
                              {.logp = {-1}, .role = 1},
                              {.logp = {-1}, .record = 1},
                              {.logp = {-4000}, .record = 1, .role = 1}};
  const Outcome outcome = weigh(*make_objective(settings_of("contrastive")), rows);
  EXPECT_DOUBLE_EQ(outcome.sums.loss, 3999.0 / 2);
  EXPECT_DOUBLE_EQ(outcome.rows[0].logp[0], -0.5);
  EXPECT_DOUBLE_EQ(outcome.rows[1].logp[0], 0.5);
  EXPECT_EQ(outcome.rows[2].logp[0], 0);
}

std::vector<Row> scored_pairs(const nlohmann::json& c) {
  std::vector<Row> rows;
  for (std::size_t i = 0; i < c["inputs"]["chosen"].size(); ++i) {
    for (const std::string side : {"chosen", "rejected"}) {
      Row row{.logp = Reals(i + 2, -1.0), .prompt = Reals(i, -1.0), .last_value = c["inputs"][side][i].get<double>()};
      row.margin = c["inputs"]["margin"][i].get<double>();
      row.record = static_cast<std::int64_t>(i);
      row.role = side == "chosen" ? 0 : 1;
      rows.push_back(row);
    }
  }
  return rows;
}

TEST(Reward, GivesItsReferenceVectorAtTheLastRealToken) {
  const nlohmann::json& c = vector_case("reward_bradley_terry");
  ObjectiveSettings settings = settings_of("reward");
  settings.reward.center_coefficient = c["hyper"]["center_rewards_coefficient"].get<double>();
  const auto objective = make_objective(settings);
  EXPECT_FALSE(objective->needs().head);
  Drive drive;
  drive.scored = false;
  const Outcome outcome = weigh(*objective, scored_pairs(c), drive);
  expect_sums(outcome, c);
  for (std::size_t i = 0; i < outcome.rows.size(); ++i) {
    const RowGradient& row = outcome.rows[i];
    expect_close(row.last_value, c["grad"][i % 2 == 0 ? "chosen" : "rejected"][i / 2].get<double>(), "reward");
    for (double g : row.values) EXPECT_EQ(g, 0) << "only the last token is rewarded";
    for (double g : row.coefficients) EXPECT_EQ(g, 0) << "the vocabulary plays no part";
  }
  expect_metric(outcome, "min_reward", -3);
  expect_metric(outcome, "max_reward", 1.5);
  expect_metric(outcome, "mean_reward", (1.5 - 0.25 + 0.5 + 0.25 + 0.75 - 3.0) / 6);
}

TEST(Reward, UntrainedRewardsGiveLn2AndNoAccuracy) {
  const std::vector<Row> rows{{.logp = {-1}, .last_value = 0.0}, {.logp = {-1}, .last_value = 0.0, .role = 1}};
  const Outcome outcome = weigh(*make_objective(settings_of("reward")), rows);
  EXPECT_DOUBLE_EQ(outcome.sums.loss, std::numbers::ln2);
  EXPECT_EQ(outcome.sums.metrics.value("accuracy"), 0.0);
}

TEST(Reward, RegularisersOfTheVocabularyHeadAreRefused) {
  ObjectiveSettings settings = settings_of("reward");
  settings.z_loss = 1e-4;
  EXPECT_THROW(make_objective(settings), Error);
}

}  // namespace
}  // namespace nll::test
