// What objectives say of held-out records.
#include "src/train/record_evaluation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <mutex>

#include "src/objectives/objective.h"
#include "src/text/record_batches.h"
#include "tests/train/record_rig.h"

namespace nll {
namespace {

std::unique_ptr<Objective> objective_of(const std::string& kind) {
  ObjectiveSettings settings;
  settings.kind = kind;
  return make_objective(settings);
}

struct RecordEvaluationTest : testing::Test, test::RecordRig {
  Console console{false};

  RecordEvaluation request(const Objective& objective, const RecordDataset& data) const {
    RecordEvaluation made{.objective = objective, .dataset = data};
    made.sequences = test::rig_sequences;
    made.context = test::rig_context;
    return made;
  }
  ReferenceSums sums_of(const RecordDataset& data, test::ScoringRig& rig, Collective& collective) const {
    ReferenceSums::Request asked(data);
    asked.sequences = test::rig_sequences;
    asked.context = test::rig_context;
    asked.cache_folder = folder / ("cache" + std::to_string(collective.world().size));
    Console quiet(false);
    return *ReferenceSums::open(asked, rig.scorer, rig.weights, collective, quiet, {});
  }
  // Sums of each sequence of each record, one by one.
  static std::vector<std::vector<double>> sums_one_by_one(test::ScoringRig& rig, const RecordDataset& data) {
    std::vector<std::vector<double>> sums;
    for (std::int64_t record = 0; record < data.records(); ++record) {
      const RecordBatches batches(
          data, {.records_per_step = 1, .sequences = 4, .context = test::rig_context, .order = RecordOrder::once});
      const Batch batch = batches.micro_batch(record, 0);
      sums.push_back(completion_sums(batch, rig.scorer.score(rig.weights, batch).logp));
    }
    return sums;
  }
};

TEST_F(RecordEvaluationTest, DpoOfTheReferenceItselfIsLnTwoWithoutAnyDifference) {
  const RecordDataset data = dataset(test::pair_lines(11), RecordKind::preference);
  test::ScoringRig rig;
  Collective alone(one_rank(), *rig.backend.device, *rig.backend.ops, {});
  const ReferenceSums sums = sums_of(data, rig, alone);
  const auto dpo = objective_of("dpo");
  RecordEvaluation asked = request(*dpo, data);
  asked.reference_sums = &sums;
  const auto result = evaluate_records(asked, rig.scorer, rig.weights, alone, {});
  ASSERT_TRUE(result);
  EXPECT_NEAR(result->loss, std::log(2.0), 1e-15);
  EXPECT_EQ(result->metrics.value("rewards/chosen"), 0.0);
  EXPECT_EQ(result->metrics.value("rewards/rejected"), 0.0);
  EXPECT_EQ(result->metrics.value("rewards/accuracies"), 0.0);
}

TEST_F(RecordEvaluationTest, IsTheLossOfAllRecordsAsOneStep) {
  const RecordDataset data = dataset(test::pair_lines(11), RecordKind::preference);
  test::ScoringRig rig(3), reference(8);
  Collective alone(one_rank(), *rig.backend.device, *rig.backend.ops, {});
  const ReferenceSums sums = sums_of(data, reference, alone);
  const auto dpo = objective_of("dpo");
  RecordEvaluation asked = request(*dpo, data);
  asked.reference_sums = &sums;
  const auto policy = sums_one_by_one(rig, data);
  for (const std::int64_t records : {11, 4, 1000}) {
    asked.records = records;
    const auto result = evaluate_records(asked, rig.scorer, rig.weights, alone, {});
    const auto n = static_cast<std::size_t>(std::min<std::int64_t>(records, 11));
    double loss = 0, chosen = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const auto record = static_cast<std::int64_t>(i);
      const double d = policy[i][0] - sums.sum(record, 0) - policy[i][1] + sums.sum(record, 1);
      loss += std::log1p(std::exp(-0.1 * d)) / static_cast<double>(n);
      chosen += policy[i][0] / static_cast<double>(n);
    }
    EXPECT_NEAR(result->loss, loss, 1e-12);
    EXPECT_NEAR(*result->metrics.value("logps/chosen"), chosen, 1e-10);
  }
}

TEST_F(RecordEvaluationTest, SftIsTheMeanOverTokens) {
  const RecordDataset data = dataset(test::pair_lines(5), RecordKind::preference);
  test::ScoringRig rig;
  Collective alone(one_rank(), *rig.backend.device, *rig.backend.ops, {});
  const auto sft = objective_of("sft");
  const auto result = evaluate_records(request(*sft, data), rig.scorer, rig.weights, alone, {});
  double nll = 0;
  for (const auto& record : sums_one_by_one(rig, data)) nll -= record[0] + record[1];
  EXPECT_EQ(result->tokens.tokens, data.summary().trained_tokens);
  EXPECT_NEAR(result->tokens.nll, nll, 1e-10);
  EXPECT_NEAR(result->loss, nll / static_cast<double>(result->tokens.tokens), 1e-12);
}

TEST_F(RecordEvaluationTest, IsTheSameOnAllRanksAndAtAnyNumberOfThem) {
  const RecordDataset pairs = dataset(test::pair_lines(13), RecordKind::preference);
  const RecordDataset labels = dataset(test::label_lines(13), RecordKind::unpaired);
  test::ScoringRig reference(8);
  for (const char* kind : {"dpo", "kto", "simpo", "reward"}) {
    const auto objective = objective_of(kind);
    const Needs needs = objective->needs();
    const RecordDataset& data = std::string(kind) == "kto" ? labels : pairs;
    std::vector<StepSums> found;
    std::mutex mutex;
    for (const int ranks : {1, 2, 3}) {
      test::on_ranks(ranks, [&](test::ScoringRig& rig, Collective& collective) {
        test::ScoringRig other(8);
        const ReferenceSums sums = sums_of(data, other, collective);
        RecordEvaluation asked = request(*objective, data);
        if (needs.reference_sums) asked.reference_sums = &sums;
        if (needs.mismatched) asked.reference = &other.weights;
        const auto result = evaluate_records(asked, rig.scorer, rig.weights, collective, {});
        const std::lock_guard lock(mutex);
        found.push_back(*result);
      });
    }
    ASSERT_EQ(found.size(), 6u);
    for (const StepSums& sums : found) {
      EXPECT_NEAR(sums.loss, found[0].loss, 1e-12) << kind;
      EXPECT_EQ(sums.tokens.tokens, found[0].tokens.tokens);
      ASSERT_EQ(sums.metrics.all().size(), found[0].metrics.all().size());
      for (std::size_t i = 0; i < sums.metrics.all().size(); ++i) {
        const Metric &a = sums.metrics.all()[i], &b = found[0].metrics.all()[i];
        EXPECT_EQ(a.name(), b.name());
        EXPECT_NEAR(a.value().value_or(-7), b.value().value_or(-7), 1e-10) << kind << " " << a.name();
      }
    }
    EXPECT_EQ(found[1].loss, found[2].loss);
  }
}

TEST_F(RecordEvaluationTest, StopsWithinAMicroBatch) {
  const RecordDataset data = dataset(test::pair_lines(11), RecordKind::preference);
  test::ScoringRig rig;
  Collective alone(one_rank(), *rig.backend.device, *rig.backend.ops, {});
  const auto simpo = objective_of("simpo");
  int questions = 0;
  EXPECT_FALSE(
      evaluate_records(request(*simpo, data), rig.scorer, rig.weights, alone, [&] { return ++questions > 2; }));
  EXPECT_EQ(questions, 3);
}

}  // namespace
}  // namespace nll
