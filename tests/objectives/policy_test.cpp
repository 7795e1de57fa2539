// REINFORCE, MIXER, PPO, and the objectives of groups.
#include <cmath>

#include "kernels/check.h"
#include "src/objectives/policy_ratio.h"
#include "src/objectives/reinforce.h"
#include "tests/objectives/rig.h"

namespace nll::test {
namespace {

using nlohmann::json;

void expect_gradients(const Outcome& outcome, const json& expected, Reals RowGradient::*which) {
  ASSERT_EQ(outcome.rows.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    expect_close(outcome.rows[i].*which, expected[i].get<Reals>(), "row " + std::to_string(i));
  }
}

TEST(Reinforce, GivesItsReferenceVectorWithALearnedBaseline) {
  const json& c = vector_case("reinforce_baseline");
  std::vector<Row> rows;
  double miss = 0;
  for (std::size_t i = 0; i < 2; ++i) {
    Row row{.logp = c["inputs"]["logps"][i].get<Reals>(), .values = c["inputs"]["baseline"][i].get<Reals>()};
    row.returns.assign(row.logp.size(), c["inputs"]["reward"][i].get<double>());
    for (std::size_t t = 0; t < row.logp.size(); ++t) miss += std::pow(row.returns[t] - row.values[t], 2);
    rows.push_back(row);
  }
  ObjectiveSettings settings = settings_of("reinforce");
  settings.reinforce.learned_baseline = true;
  const Outcome outcome = weigh(*make_objective(settings), rows);
  expect_sums(outcome, c);
  expect_gradients(outcome, c["grad"]["logps"], &RowGradient::logp);
  expect_metric(outcome, "loss/baseline", miss / 7);
  for (std::size_t i = 0; i < 2; ++i) {
    for (std::size_t t = 0; t < rows[i].logp.size(); ++t) {
      expect_close(outcome.rows[i].values[t], 2 * (rows[i].values[t] - rows[i].returns[t]) / 7, "baseline");
    }
  }
}

TEST(Mixer, GivesItsReferenceVector) {
  const json& c = vector_case("mixer");
  const auto gold = c["hyper"]["xent_prefix"].get<std::size_t>();
  std::vector<Row> rows;
  std::vector<Reals> expected;
  for (std::size_t i = 0; i < 2; ++i) {
    // The policy continues the gold prefix: one sequence.
    Row row{.logp = c["inputs"]["sampled_logps"][i].get<Reals>(), .values = c["inputs"]["baseline"][i].get<Reals>()};
    Reals gradient = c["grad"]["sampled_logps"][i].get<Reals>();
    for (std::size_t t = 0; t < gold; ++t) {
      row.logp[t] = c["inputs"]["gold_logps"][i][t].get<double>();
      gradient[t] = c["grad"]["gold_logps"][i][t].get<double>();
    }
    row.returns.assign(row.logp.size(), c["inputs"]["reward"][i].get<double>());
    rows.push_back(row);
    expected.push_back(gradient);
  }
  ObjectiveSettings settings = settings_of("mixer");
  settings.reinforce.learned_baseline = true;
  Drive drive;
  drive.gold_tokens = static_cast<std::int64_t>(gold);
  const Outcome outcome = weigh(*make_objective(settings), rows, drive);
  expect_sums(outcome, c);
  for (std::size_t i = 0; i < 2; ++i) expect_close(outcome.rows[i].logp, expected[i], "row");
  expect_metric(outcome, "xent", (0.5 + 1.25 + 2.5 + 0.25) / 4);
}

TEST(Mixer, TheGoldPrefixShrinksBlockByBlockToNothing) {
  EXPECT_EQ(mixer_gold_tokens(25, 0, 10), 25);
  EXPECT_EQ(mixer_gold_tokens(25, 1, 10), 15);
  EXPECT_EQ(mixer_gold_tokens(25, 3, 10), 0);
}

std::vector<Row> policy_rows(const json& c) {
  std::vector<Row> rows;
  for (std::size_t i = 0; i < c["inputs"]["logps"].size(); ++i) {
    Row row{.logp = c["inputs"]["logps"][i].get<Reals>()};
    if (c["inputs"].contains("old")) row.old = c["inputs"]["old"][i].get<Reals>();
    if (c["inputs"].contains("ref")) row.reference = c["inputs"]["ref"][i].get<Reals>();
    const json& advantage = c["inputs"]["adv"][i];
    if (advantage.is_array()) {
      row.token_advantages = advantage.get<Reals>();
    } else {
      row.advantage = advantage.get<double>();
    }
    row.record = static_cast<std::int64_t>(i);
    rows.push_back(row);
  }
  return rows;
}

TEST(Ppo, ThePolicyLossGivesItsReferenceVector) {
  const json& c = vector_case("ppo_policy");
  ObjectiveSettings settings = settings_of("ppo");
  settings.ppo.clip_range = c["hyper"]["cliprange"].get<double>();
  settings.ppo.learn_values = false;
  const auto objective = make_objective(settings);
  const Outcome outcome = weigh(*objective, policy_rows(c));
  expect_sums(outcome, c);
  expect_gradients(outcome, c["grad"]["logps"], &RowGradient::logp);
  expect_metric(outcome, "loss/policy_avg", c["loss"].get<double>());
  expect_metric(outcome, "policy/entropy_avg", 0.75);
}

TEST(Ppo, TheValueLossGivesItsReferenceVector) {
  const json& c = vector_case("ppo_value");
  ObjectiveSettings settings = settings_of("ppo");
  settings.ppo.value_clip_range = c["hyper"]["cliprange_value"].get<double>();
  settings.ppo.value_coefficient = c["hyper"]["vf_coef"].get<double>();
  std::vector<Row> rows;
  for (std::size_t i = 0; i < 2; ++i) {
    Row row{.values = c["inputs"]["values"][i].get<Reals>(), .old_values = c["inputs"]["old_values"][i].get<Reals>()};
    row.returns = c["inputs"]["returns"][i].get<Reals>();
    row.logp.assign(row.values.size(), -1.0);
    row.old = row.logp;
    row.token_advantages.assign(row.values.size(), 0.0);
    rows.push_back(row);
  }
  const Outcome outcome = weigh(*make_objective(settings), rows);
  expect_sums(outcome, c);
  expect_gradients(outcome, c["grad"]["values"], &RowGradient::values);
  expect_metric(outcome, "loss/value_avg", c["loss"].get<double>() / settings.ppo.value_coefficient);
}

TEST(Ppo, OnTheFirstMiniBatchTheRatioIsOneAndNothingIsClipped) {
  std::vector<Row> rows = policy_rows(vector_case("ppo_policy"));
  double mean = 0;
  for (Row& row : rows) {
    row.old = row.logp;
    for (double a : row.token_advantages) mean += a / 6;
  }
  ObjectiveSettings settings = settings_of("ppo");
  settings.ppo.learn_values = false;
  const Outcome outcome = weigh(*make_objective(settings), rows);
  EXPECT_EQ(outcome.sums.metrics.value("val/ratio"), 1.0);
  EXPECT_EQ(outcome.sums.metrics.value("val/ratio_var"), 0.0);
  EXPECT_EQ(outcome.sums.metrics.value("policy/clipfrac_avg"), 0.0);
  EXPECT_EQ(outcome.sums.metrics.value("policy/approxkl_avg"), 0.0);
  EXPECT_NEAR(outcome.sums.loss, -mean, 1e-15);
}

ObjectiveSettings grpo_settings(const std::string& kind, const json& hyper, GroupAggregation aggregation) {
  ObjectiveSettings settings = settings_of(kind);
  settings.grpo.epsilon = hyper.value("epsilon", 0.2);
  settings.grpo.epsilon_high = hyper.value("epsilon_high", 0.2);
  settings.grpo.beta = hyper.value("beta", 0.0);
  if (hyper.contains("delta") && !hyper["delta"].is_null()) settings.grpo.delta = hyper["delta"].get<double>();
  settings.grpo.max_completion_tokens = hyper.value("max_completion_length", std::int64_t{512});
  settings.grpo.aggregation = aggregation;
  settings.grpo.one_update = false;
  return settings;
}

// The case's rows, and where the vector counts the tokens of another micro-batch as well, a twin without an advantage
// or a distance to the reference: nine more tokens and nothing else.
std::vector<Row> with_twin(std::vector<Row> rows) {
  const std::size_t n = rows.size();
  for (std::size_t i = 0; i < n; ++i) {
    Row twin = rows[i];
    twin.advantage = 0;
    twin.old = twin.reference = twin.logp;
    rows.push_back(twin);
  }
  return rows;
}

TEST(Grpo, EveryAggregationGivesItsReferenceVector) {
  const std::tuple<const char*, GroupAggregation, bool> cases[] = {{"grpo_grpo", GroupAggregation::grpo, false},
                                                                   {"grpo_bnpo", GroupAggregation::bnpo, false},
                                                                   {"grpo_dr_grpo", GroupAggregation::dr_grpo, false},
                                                                   {"grpo_dapo", GroupAggregation::dapo, true},
                                                                   {"grpo_dapo_delta", GroupAggregation::dapo, true}};
  for (const auto& [name, aggregation, twin] : cases) {
    SCOPED_TRACE(name);
    const json& c = vector_case(name);
    std::vector<Row> rows = policy_rows(c);
    const std::size_t n = rows.size();
    if (twin) rows = with_twin(rows);
    ObjectiveSettings settings = grpo_settings("grpo", c["hyper"], aggregation);
    Outcome outcome = weigh(*make_objective(settings), rows);
    outcome.rows.resize(n);
    expect_gradients(outcome, c["grad"]["logps"], &RowGradient::logp);
    if (!twin) {
      expect_sums(outcome, c);
    } else {
      expect_close(outcome.sums.loss, c["loss"].get<double>(), "loss");
      for (const auto& [metric, value] : c["metrics"].items()) expect_metric(outcome, metric, value.get<double>() / 2);
    }
  }
}

TEST(Grpo, BnpoDividesByTheTokensOfItsMicroBatchAndByTheMicroBatches) {
  const json& c = vector_case("grpo_bnpo");
  std::vector<Row> rows = policy_rows(c), both = rows;
  both.insert(both.end(), rows.begin(), rows.end());
  const auto objective = make_objective(grpo_settings("grpo", c["hyper"], GroupAggregation::bnpo));
  for (const Cut cut : {Cut{1, 3}, Cut{2, 3}}) {
    Drive drive;
    drive.cut = cut;
    const Outcome outcome = weigh(*objective, both, drive);
    expect_close(outcome.sums.loss, c["loss"].get<double>(), "loss");
    expect_metric(outcome, "clip_ratio/low_min", 1.0 / 9);
    expect_metric(outcome, "clip_ratio/high_max", 1.0 / 9);
    expect_metric(outcome, "clip_ratio/region_mean", 2.0 / 9);
    expect_close(outcome.rows[4].logp[0], c["grad"]["logps"][1][0].get<double>() / 2, "gradient");
  }
}

TEST(Grpo, OneUpdateARolloutIsOnePassWithTheAdvantageAsTheWeight) {
  ObjectiveSettings settings = settings_of("grpo");
  EXPECT_TRUE(make_objective(settings)->one_pass());
  std::vector<Row> rows{{.logp = {-1, -2}, .advantage = 1.5}, {.logp = {-3}, .advantage = -0.5}};
  for (bool scored : {false, true}) {
    Drive drive;
    drive.scored = scored;
    const Outcome outcome = weigh(*make_objective(settings), rows, drive);
    EXPECT_EQ(outcome.rows[0].logp, (Reals{-0.5, -0.5}));
    EXPECT_DOUBLE_EQ(outcome.rows[1].logp[0], 0.5 / 3);
  }
  settings.grpo.beta = 0.1;
  EXPECT_FALSE(make_objective(settings)->one_pass());
  settings.grpo = {};
  settings.grpo.one_update = false;
  EXPECT_FALSE(make_objective(settings)->one_pass());
}

TEST(Gspo, GivesItsReferenceVector) {
  const json& c = vector_case("gspo_sequence_ratio");
  const auto objective = make_objective(grpo_settings("gspo", c["hyper"], GroupAggregation::grpo));
  const Outcome outcome = weigh(*objective, policy_rows(c));
  expect_sums(outcome, c);
  expect_gradients(outcome, c["grad"]["logps"], &RowGradient::logp);
}

TEST(Cispo, GivesItsReferenceVector) {
  const json& c = vector_case("cispo");
  std::vector<Row> rows = policy_rows(c);
  const json& old = vector_case("gspo_sequence_ratio")["inputs"]["old"];
  const double cap = c["hyper"]["epsilon_high"].get<double>();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i].old = old[i].get<Reals>();
    for (std::size_t t = 0; t < rows[i].logp.size(); ++t) {
      expect_close(std::min(std::exp(rows[i].logp[t] - rows[i].old[t]), cap), c["inputs"]["sg"][i][t].get<double>(),
                   "the vector's weights");
    }
  }
  ObjectiveSettings settings = settings_of("cispo");
  settings.grpo.ratio_cap = cap;
  settings.grpo.one_update = false;
  Outcome outcome = weigh(*make_objective(settings), with_twin(rows));
  outcome.rows.resize(rows.size());
  expect_close(outcome.sums.loss, c["loss"].get<double>(), "loss");
  expect_gradients(outcome, c["grad"]["logps"], &RowGradient::logp);
}

TEST(Rloo, GivesItsReferenceVector) {
  const json& c = vector_case("rloo");
  ObjectiveSettings settings = settings_of("rloo");
  settings.rloo = {c["hyper"]["epsilon"].get<double>(), c["hyper"]["epsilon_high"].get<double>(), false};
  const Outcome outcome = weigh(*make_objective(settings), policy_rows(c));
  expect_sums(outcome, c);
  expect_gradients(outcome, c["grad"]["logps"], &RowGradient::logp);
}

TEST(ClippedRatio, AnInfiniteRatioWithoutAnAdvantageIsNothing) {
  const ClippedRatio r = clipped_ratio(INFINITY, 0, {});
  EXPECT_EQ(r.loss, 0);
  EXPECT_EQ(r.derivative, 0);
  const ClippedRatio good = clipped_ratio(INFINITY, 1, {});
  EXPECT_DOUBLE_EQ(good.loss, -1.2);
  EXPECT_EQ(good.derivative, 0);
}

}  // namespace
}  // namespace nll::test
