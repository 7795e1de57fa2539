// What holds of every row of the table.
#include <cmath>

#include "kernels/check.h"
#include "tests/objectives/rig.h"

namespace nll::test {
namespace {

bool is_paired(const std::string& kind) {
  for (const char* pair : {"dpo", "simpo", "cpo", "orpo", "contrastive", "reward"}) {
    if (kind == pair) return true;
  }
  return false;
}

// Numbers with few bits, different for each row, token and purpose.
double dyadic(std::size_t row, std::size_t token, std::size_t purpose) {
  return static_cast<double>((row * 37 + token * 101 + purpose * 53 + row * token * 7) % 61) / 32;
}

// Eight sequences of different lengths that have everything an objective may ask for: single ones or pairs.
std::vector<Row> rows_for(const Objective& objective, bool paired) {
  const Needs needs = objective.needs();
  std::vector<Row> rows;
  for (std::size_t i = 0; i < 8; ++i) {
    Row row;
    row.record = static_cast<std::int64_t>(paired ? i / 2 : i);
    row.role = paired ? static_cast<std::int32_t>(i % 2) : 0;
    row.label = i % 3 == 0;
    row.advantage = dyadic(i, 0, 1) - 1;
    if (needs.mismatched) {
      row.mismatched = -dyadic(i, 0, 2);
      row.mismatched_reference = -dyadic(i, 0, 2) - 0.25;
    }
    if (!needs.head) row.last_value = dyadic(i, 0, 3) - 1;
    row.prompt = Reals(i % 3, -0.5);
    for (std::size_t t = 0; t < 2 + i * 5 % 4; ++t) {
      row.logp.push_back(-0.125 - dyadic(i, t, 4));
      if (needs.reference_sums || needs.reference_logp) row.reference.push_back(-0.125 - dyadic(i, t, 5));
      // Ratios away from the edges of the clip, where there is no derivative.
      if (needs.old_logp) row.old.push_back(row.logp.back() + (t % 2 == 0 ? 0.0625 : -0.375));
      if (needs.token_advantages) row.token_advantages.push_back(dyadic(i, t, 6) - 1);
      if (needs.returns) row.returns.push_back(dyadic(i, t, 7) - 1);
      if (needs.values && needs.head) row.values.push_back(dyadic(i, t, 8) - 1);
      if (needs.old_values) row.old_values.push_back(dyadic(i, t, 9) - 1);
    }
    rows.push_back(row);
  }
  return rows;
}

// Settings worth trying, by name.
std::vector<std::pair<std::string, ObjectiveSettings>> variants() {
  std::vector<std::pair<std::string, ObjectiveSettings>> all;
  for (const std::string& kind : objective_kinds()) {
    all.emplace_back(kind, settings_of(kind));
    ObjectiveSettings s = settings_of(kind);
    s.kto.baseline = KtoBaseline::step;
    s.sft.reduction = Reduction::sequence_mean;
    s.dpo.label_smoothing = 0.125;
    s.dpo.losses = {{PairLoss::robust, 1}, {PairLoss::sft, 0.5}, {PairLoss::ipo, 0.25}, {PairLoss::sigmoid_norm, 2}};
    s.contrastive = {0.5, true, true};
    s.simpo = {2, 0.25, 0.5};
    s.orpo.nll_on_prompt = true;
    s.reward.center_coefficient = 0.0625;
    s.reinforce.learned_baseline = true;
    s.grpo.beta = 0.125;
    s.grpo.one_update = s.rloo.one_update = false;
    s.grpo.aggregation = GroupAggregation::grpo;
    if (kind != "reward") {
      s.z_loss = 0.01;
      s.entropy_bonus = 0.02;
    }
    if (kind == "language" || kind == "sft") s.label_smoothing = 0.125;
    all.emplace_back(kind + ", everything on", s);
  }
  return all;
}

Drive drive_for(const std::string& kind, Cut cut = {}) {
  Drive drive;
  drive.cut = cut;
  drive.together = is_paired(kind) ? 2 : 1;
  drive.gold_tokens = 2;
  return drive;
}

// Where a factor is detached, or the old policy is the policy itself, the loss as a function of the log-probabilities
// does not show the gradient.
bool is_differentiable(const ObjectiveSettings& s) {
  if (s.kind == "cispo") return false;
  if (s.kind == "grpo" || s.kind == "gspo") return !s.grpo.one_update;
  return s.kind != "rloo" || !s.rloo.one_update;
}

TEST(EveryObjective, GradientsAreTheDerivativesOfTheLoss) {
  for (const auto& [name, settings] : variants()) {
    if (!is_differentiable(settings)) continue;
    SCOPED_TRACE(name);
    const auto objective = make_objective(settings);
    expect_derivatives(*objective, rows_for(*objective, is_paired(settings.kind)), drive_for(settings.kind));
  }
}

TEST(EveryObjective, AStepMayBeCutIntoAnyMicroBatchesAndRanks) {
  for (const auto& [name, settings] : variants()) {
    if (settings.kind == "kto" && settings.kto.baseline == KtoBaseline::micro_batch) continue;
    SCOPED_TRACE(name);
    const auto objective = make_objective(settings);
    const std::vector<Row> rows = rows_for(*objective, is_paired(settings.kind));
    const Outcome whole = weigh(*objective, rows, drive_for(settings.kind));
    for (const Cut cut : {Cut{1, 1}, Cut{1, 3}, Cut{2, 0}, Cut{2, 3}, Cut{4, 1}, Cut{3, 2}}) {
      const Outcome parts = weigh(*objective, rows, drive_for(settings.kind, cut));
      EXPECT_NEAR(parts.sums.loss, whole.sums.loss, 1e-14 * std::max(1.0, std::abs(whole.sums.loss)));
      EXPECT_EQ(parts.sums.tokens.tokens, whole.sums.tokens.tokens);
      EXPECT_DOUBLE_EQ(parts.sums.tokens.nll, whole.sums.tokens.nll);
      for (const Metric& metric : whole.sums.metrics.all()) {
        // Extremes over micro-batches are about the cut.
        if (metric.name() == "clip_ratio/low_min" || metric.name() == "clip_ratio/high_max") continue;
        const std::optional<double> found = parts.sums.metrics.value(metric.name()), expected = metric.value();
        ASSERT_EQ(found.has_value(), expected.has_value()) << metric.name();
        if (expected) {
          EXPECT_NEAR(*found, *expected, 1e-13 * std::max(1.0, std::abs(*expected))) << metric.name();
        }
      }
      for (std::size_t i = 0; i < rows.size(); ++i) {
        // Sums of z0 are taken in another order; everything else is the same to the bit.
        if (settings.kind == "kto") {
          for (std::size_t k = 0; k < whole.rows[i].coefficients.size(); ++k) {
            EXPECT_NEAR(parts.rows[i].coefficients[k], whole.rows[i].coefficients[k], 1e-15);
          }
          continue;
        }
        EXPECT_EQ(parts.rows[i].coefficients, whole.rows[i].coefficients) << "row " << i;
        EXPECT_EQ(parts.rows[i].values, whole.rows[i].values) << "row " << i;
        EXPECT_EQ(parts.rows[i].last_value, whole.rows[i].last_value) << "row " << i;
      }
    }
  }
}

TEST(EveryObjective, WithoutAnyValidTokenTheGradientIsZeroAndNothingIsNaN) {
  for (const auto& [name, settings] : variants()) {
    SCOPED_TRACE(name);
    const auto objective = make_objective(settings);
    std::vector<Row> rows = rows_for(*objective, is_paired(settings.kind));
    for (Row& row : rows) row.mask.assign(row.logp.size(), 0.0);
    const Outcome masked = weigh(*objective, rows, drive_for(settings.kind));
    EXPECT_TRUE(std::isfinite(masked.sums.loss));
    for (const RowGradient& row : masked.rows) {
      for (double g : row.coefficients) EXPECT_EQ(g, 0);
      for (double g : row.values) EXPECT_EQ(g, 0);
    }
    for (const Metric& metric : masked.sums.metrics.all()) {
      EXPECT_TRUE(std::isfinite(metric.value().value_or(0))) << metric.name();
    }
    // And a rank without any sequence, with fillers only.
    const Outcome none = weigh(*objective, {}, drive_for(settings.kind, {2, 2}));
    EXPECT_EQ(none.sums.loss, 0);
    ASSERT_EQ(none.sums.metrics.all().size(), masked.sums.metrics.all().size()) << "the same metrics on every rank";
    for (const Metric& metric : none.sums.metrics.all()) EXPECT_FALSE(metric.value().has_value()) << metric.name();
  }
}

TEST(EveryObjective, IgnoredTargetsHaveNoCoefficients) {
  for (const auto& [name, settings] : variants()) {
    SCOPED_TRACE(name);
    const auto objective = make_objective(settings);
    std::vector<Row> rows = rows_for(*objective, is_paired(settings.kind));
    for (Row& row : rows) {
      row.mask.assign(row.logp.size(), 1.0);
      row.mask[1] = 0;
    }
    const Outcome outcome = weigh(*objective, rows, drive_for(settings.kind));
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::size_t at = rows[i].prompt.size() + 1, end = rows[i].prompt.size() + rows[i].logp.size();
      for (std::size_t k = 0; k < 4; ++k) {
        EXPECT_EQ(outcome.rows[i].coefficients[4 * at + k], 0) << "a masked token";
        EXPECT_EQ(outcome.rows[i].coefficients[4 * end + k], 0) << "padding";
      }
      EXPECT_EQ(outcome.rows[i].values[1], 0);
    }
  }
}

TEST(EveryObjective, InOnePassTheWeightsAreThoseOfAScoredStep) {
  int seen = 0;
  for (const auto& [name, settings] : variants()) {
    const auto objective = make_objective(settings);
    if (!objective->one_pass()) continue;
    SCOPED_TRACE(name);
    ++seen;
    const std::vector<Row> rows = rows_for(*objective, is_paired(settings.kind));
    Drive drive = drive_for(settings.kind);
    const Outcome late = weigh(*objective, rows, drive);
    drive.scored = false;
    const Outcome early = weigh(*objective, rows, drive);
    for (std::size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(early.rows[i].coefficients, late.rows[i].coefficients);
    EXPECT_EQ(early.sums.loss, 0);
    EXPECT_EQ(early.sums.tokens.tokens, 0);
  }
  EXPECT_EQ(seen, 8) << "language, sft, reinforce, mixer, grpo, gspo, cispo, rloo";
}

TEST(EveryObjective, OneThatNeedsScoresDoesNotWeighWithoutThem) {
  for (const char* kind : {"dpo", "orpo", "ppo"}) {
    const auto objective = make_objective(settings_of(kind));
    Drive drive = drive_for(kind);
    drive.scored = false;
    EXPECT_THROW(weigh(*objective, rows_for(*objective, is_paired(kind)), drive), std::logic_error) << kind;
  }
}

TEST(EveryObjective, RegularisersAreMeansOverValidTokensWhateverTheSignOfTheWeights) {
  for (const char* kind : {"sft", "dpo", "kto", "grpo"}) {
    SCOPED_TRACE(kind);
    ObjectiveSettings settings = settings_of(kind);
    const auto plain = make_objective(settings);
    settings.z_loss = 0.5;
    settings.entropy_bonus = 0.25;
    const auto regular = make_objective(settings);
    const std::vector<Row> rows = rows_for(*plain, is_paired(kind));
    const Outcome before = weigh(*plain, rows, drive_for(kind)), after = weigh(*regular, rows, drive_for(kind));
    const double lse = 1.25 + 0.5, entropy = 0.75;
    EXPECT_NEAR(after.sums.loss - before.sums.loss, 0.5 * lse * lse - 0.25 * entropy, 1e-14);
    const auto tokens = static_cast<double>(after.sums.tokens.tokens);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::size_t at = 4 * rows[i].prompt.size();
      EXPECT_EQ(after.rows[i].coefficients[at], before.rows[i].coefficients[at]);
      EXPECT_DOUBLE_EQ(after.rows[i].coefficients[at + 1], 2 * 0.5 * lse / tokens);
      EXPECT_DOUBLE_EQ(after.rows[i].coefficients[at + 3], -0.25 / tokens);
    }
  }
}

TEST(EveryObjective, AnUnknownKindIsRefusedWithTheKindsThereAre) {
  try {
    make_objective(settings_of("luck"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::usage);
    EXPECT_NE(std::string(error.what()).find("\"luck\" (language, sft, dpo"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace nll::test
