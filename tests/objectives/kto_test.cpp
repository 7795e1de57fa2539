#include <cmath>
#include <limits>

#include "kernels/check.h"
#include "src/objectives/kto.h"
#include "tests/objectives/rig.h"

namespace nll::test {
namespace {

std::vector<Row> rows_of(const nlohmann::json& c) {
  const nlohmann::json& in = c["inputs"];
  std::vector<Row> rows;
  for (std::size_t i = 0; i < in["completions"].size(); ++i) {
    Row row;
    row.logp = in["completions"][i].get<Reals>();
    row.reference = in["ref"][i].get<Reals>();
    row.mismatched = in["kl_policy"][i].get<double>();
    row.mismatched_reference = in["kl_ref"][i].get<double>();
    row.label = c["hyper"]["labels"][i].get<bool>();
    row.record = static_cast<std::int64_t>(i);
    rows.push_back(row);
  }
  return rows;
}

ObjectiveSettings settings_for(const nlohmann::json& c, KtoBaseline baseline = KtoBaseline::micro_batch) {
  ObjectiveSettings settings = settings_of("kto");
  settings.kto = {c["hyper"]["beta"].get<double>(), c["hyper"]["desirable_weight"].get<double>(),
                  c["hyper"]["undesirable_weight"].get<double>(), baseline};
  return settings;
}

void expect_case(const Outcome& outcome, const nlohmann::json& c) {
  expect_sums(outcome, c);
  for (std::size_t i = 0; i < outcome.rows.size(); ++i) {
    expect_close(outcome.rows[i].logp, c["grad"]["completions"][i].get<Reals>(), "completions");
  }
}

TEST(Kto, GivesItsReferenceVectorsAlsoWhereTheBaselineIsClamped) {
  for (const char* name : {"kto", "kto_weighted", "kto_kl_clamped"}) {
    SCOPED_TRACE(name);
    const nlohmann::json& c = vector_case(name);
    expect_case(weigh(*make_objective(settings_for(c)), rows_of(c)), c);
  }
}

TEST(Kto, TheBaselineOfAMicroBatchIsOneOverAllRanks) {
  const nlohmann::json& c = vector_case("kto");
  Drive drive;
  drive.cut = {3, 1};
  expect_case(weigh(*make_objective(settings_for(c)), rows_of(c), drive), c);
}

TEST(Kto, TheBaselineOfAStepDoesNotDependOnItsCut) {
  const nlohmann::json& c = vector_case("kto");
  for (const Cut cut : {Cut{1, 1}, Cut{1, 2}, Cut{2, 1}, Cut{3, 2}}) {
    Drive drive;
    drive.cut = cut;
    expect_case(weigh(*make_objective(settings_for(c, KtoBaseline::step)), rows_of(c), drive), c);
  }
}

TEST(Kto, MicroBatchesHaveBaselinesOfTheirOwn) {
  std::vector<Row> rows = rows_of(vector_case("kto"));
  Drive drive;
  drive.cut = {1, 1};
  const Outcome outcome = weigh(*make_objective(settings_of("kto")), rows, drive);
  expect_metric(outcome, "kl", (0.5 + 0.75 + 0.0) / 3);
  // The first row's gradient by hand, with its own z0 = 0.5: r = 0.75.
  const double s = 1 / (1 + std::exp(-0.1 * (0.75 - 0.5)));
  expect_close(outcome.rows[0].logp[0], -0.1 * s * (1 - s) / 3, "gradient");
}

TEST(Kto, AMissingClassHasNoMetricAndNoNaN) {
  for (bool label : {true, false}) {
    std::vector<Row> rows = rows_of(vector_case("kto"));
    for (Row& row : rows) row.label = label;
    const Outcome outcome = weigh(*make_objective(settings_of("kto")), rows);
    EXPECT_TRUE(std::isfinite(outcome.sums.loss));
    EXPECT_TRUE(outcome.sums.metrics.value(label ? "rewards/chosen" : "rewards/rejected").has_value());
    EXPECT_FALSE(outcome.sums.metrics.value(label ? "rewards/rejected" : "rewards/chosen").has_value());
    EXPECT_FALSE(outcome.sums.metrics.value("rewards/margins").has_value());
  }
}

TEST(Kto, ARecordWithoutAPartnerTakesNoPartInTheBaseline) {
  std::vector<Row> rows = rows_of(vector_case("kto"));
  rows[1].mismatched = std::numeric_limits<double>::quiet_NaN();
  const Outcome outcome = weigh(*make_objective(settings_of("kto")), rows);
  expect_metric(outcome, "kl", (0.5 + 0.0) / 2);
}

TEST(Kto, CompletionsRotateByOneWithinTheMicroBatch) {
  Batch batch;
  batch.sequences = 5;
  batch.context = 1;
  batch.sequence_info.resize(5);
  for (std::size_t i : {0, 1, 3, 4}) batch.sequence_info[i].record = static_cast<std::int64_t>(i);
  using Partner = std::optional<std::size_t>;
  EXPECT_EQ(mismatched_rows(batch), (std::vector<Partner>{4, 0, std::nullopt, 1, 3}));
  batch.sequence_info[0].record = batch.sequence_info[1].record = batch.sequence_info[3].record = -1;
  EXPECT_EQ(mismatched_rows(batch), std::vector<Partner>(5)) << "one record has nothing to be compared with";
  batch.sequences = 1;
  EXPECT_THROW(mismatched_rows(batch), Error);
}

TEST(Kto, ImbalanceSaysWhichWeightWouldMendIt) {
  KtoSettings settings;
  const auto balance = kto_balance(10, 30, settings);
  ASSERT_TRUE(balance.has_value());
  EXPECT_FALSE(balance->good());
  EXPECT_DOUBLE_EQ(balance->ratio, 1.0 / 3);
  settings.desirable_weight = balance->least_desirable_weight;
  EXPECT_DOUBLE_EQ(settings.desirable_weight, 3);
  EXPECT_TRUE(kto_balance(10, 30, settings)->good());
  EXPECT_DOUBLE_EQ(balance->most_desirable_weight, 4);
  EXPECT_FALSE(kto_balance(0, 30, settings).has_value());
}

}  // namespace
}  // namespace nll::test
