#include "kernels/check.h"
#include "tests/objectives/rig.h"

namespace nll::test {
namespace {

std::vector<Row> rows_of(const nlohmann::json& c) {
  std::vector<Row> rows;
  for (std::size_t i = 0; i < c["inputs"]["logps"].size(); ++i) {
    Row row;
    row.logp = c["inputs"]["logps"][i].get<Reals>();
    row.mask = c["inputs"]["mask"][i].get<Reals>();
    row.record = static_cast<std::int64_t>(i);
    rows.push_back(row);
  }
  return rows;
}

void expect_case(const std::string& name, const ObjectiveSettings& settings, const Drive& drive = {}) {
  SCOPED_TRACE(name);
  const nlohmann::json& c = vector_case(name);
  const Outcome outcome = weigh(*make_objective(settings), rows_of(c), drive);
  expect_sums(outcome, c);
  for (std::size_t i = 0; i < outcome.rows.size(); ++i) {
    expect_close(outcome.rows[i].logp, c["grad"]["logps"][i].get<Reals>(), "logps");
  }
}

ObjectiveSettings sft(SupervisedLoss loss, Reduction reduction) {
  ObjectiveSettings settings = settings_of("sft");
  settings.sft = {loss, reduction};
  return settings;
}

TEST(Supervised, GivesTheReferenceVectorsInAnyCut) {
  for (const Cut cut : {Cut{1, 0}, Cut{1, 1}, Cut{2, 1}, Cut{2, 3}}) {
    Drive drive;
    drive.cut = cut;
    expect_case("sft_token_mean", settings_of("sft"), drive);
    expect_case("sft_token_mean", settings_of("language"), drive);
    expect_case("sft_sequence_mean", sft(SupervisedLoss::nll, Reduction::sequence_mean), drive);
    expect_case("dft", sft(SupervisedLoss::dft, Reduction::token_mean), drive);
    expect_case("sequence_unlikelihood", sft(SupervisedLoss::unlikelihood, Reduction::token_mean), drive);
  }
}

TEST(Supervised, UnlikelihoodOfACertainTokenIsFinite) {
  const Outcome outcome =
      weigh(*make_objective(sft(SupervisedLoss::unlikelihood, Reduction::token_mean)), {{.logp = {0.0, -1.0}}});
  EXPECT_TRUE(std::isfinite(outcome.sums.loss));
  EXPECT_TRUE(std::isfinite(outcome.rows[0].logp[0]));
  EXPECT_GT(outcome.rows[0].logp[0], 1e9) << "it is pushed down as hard as doubles say";
}

TEST(Supervised, TokensAreCountedOverAllRanksNotPerMicroBatch) {
  // Means of the two halves would be -1 and -3; the mean over the four tokens is -1.5.
  const std::vector<Row> rows{{.logp = {-1, -1, -1}}, {.logp = {-3}}};
  for (const Cut cut : {Cut{1, 1}, Cut{2, 1}}) {
    Drive drive;
    drive.cut = cut;
    EXPECT_DOUBLE_EQ(weigh(*make_objective(settings_of("sft")), rows, drive).sums.loss, 1.5);
  }
}

TEST(Supervised, AFullyMaskedSequenceIsNoPartOfASequenceMean) {
  const std::vector<Row> rows{{.logp = {-1, -3}}, {.logp = {-9, -9}, .mask = {0, 0}}};
  const auto objective = make_objective(sft(SupervisedLoss::nll, Reduction::sequence_mean));
  EXPECT_DOUBLE_EQ(weigh(*objective, rows).sums.loss, 2.0);
}

TEST(Supervised, LabelSmoothingOfAWeightedLossIsRefused) {
  ObjectiveSettings settings = sft(SupervisedLoss::dft, Reduction::token_mean);
  settings.label_smoothing = 0.1;
  EXPECT_THROW(make_objective(settings), Error);
}

TEST(Supervised, SmoothingTakesTheMeanLogProbabilityAsItsSecondTerm) {
  for (const char* kind : {"sft", "language"}) {
    ObjectiveSettings settings = settings_of(kind);
    settings.label_smoothing = 0.25;
    const Outcome outcome = weigh(*make_objective(settings), {{.logp = {-1, -2}}});
    // 0.75 * 1.5 + 0.25 * 3, the rig's mean log-probability being -3.
    EXPECT_DOUBLE_EQ(outcome.sums.loss, 1.875);
    EXPECT_DOUBLE_EQ(outcome.rows[0].coefficients[0], -0.375);
    EXPECT_DOUBLE_EQ(outcome.rows[0].coefficients[2], -0.125);
  }
}

}  // namespace
}  // namespace nll::test
