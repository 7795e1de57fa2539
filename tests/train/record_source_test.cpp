// Steps on records, and the mismatched records that KTO asks for.
#include "src/train/record_source.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/ops.h"
#include "src/objectives/objective.h"
#include "tests/train/record_rig.h"

namespace nll {
namespace {

constexpr std::int32_t none = ignore_index;

// Two rows of T = 8: "abXY" with prompt "ab", and "cdeZ" with prompt "cde".
Batch two_rows() {
  Batch batch;
  batch.sequences = 3;
  batch.context = 8;
  batch.tokens = {'a', 'b', 'X', 'Y', 0, 0, 0, 0, 'c', 'd', 'e', 'Z', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  batch.targets.assign(24, none);
  batch.targets[1] = 'X';
  batch.targets[2] = 'Y';
  batch.targets[10] = 'Z';
  batch.sequence_info.resize(3);
  batch.sequence_info[0] = {.record = 5, .role = 0, .label = true, .margin = 0, .prompt_tokens = 2, .tokens = 4};
  batch.sequence_info[1] = {.record = 9, .role = 0, .label = false, .margin = 0, .prompt_tokens = 3, .tokens = 4};
  return batch;
}

TEST(Mismatched, ARowIsItsPromptAndThePartnersCompletion) {
  const Batch made = mismatched_batch(two_rows(), 0);
  EXPECT_EQ(made.tokens, (Ids{'a', 'b', 'Z', 0, 0, 0, 0, 0, 'c', 'd', 'e', 'X', 'Y', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(made.targets, (Ids{none, 'Z',  none, none, none, none, none, none, none, none, 'X',  'Y',
                               none, none, none, none, none, none, none, none, none, none, none, none}));
  EXPECT_EQ(made.sequence_info[0].record, 5);
  EXPECT_EQ(made.sequence_info[0].prompt_tokens, 2);
  EXPECT_EQ(made.sequence_info[0].tokens, 3);
  EXPECT_EQ(made.sequence_info[1].tokens, 5);
  EXPECT_EQ(made.sequence_info[2].record, -1);
}

TEST(Mismatched, WhatDoesNotFitIsCutAndWhereNothingIsLeftTheRowIsAFiller) {
  Batch batch = two_rows();
  batch.sequence_info[1].prompt_tokens = 7;
  batch.sequence_info[1].tokens = 8;
  batch.targets[10] = none;
  batch.targets[8 + 6] = 'Z';
  const Batch cut = mismatched_batch(batch, 0);
  EXPECT_EQ(cut.targets[8 + 6], 'X');
  EXPECT_EQ(cut.sequence_info[1].tokens, 8);
  batch.sequence_info[1].prompt_tokens = 8;  // as if another record had a longer prompt
  const Batch left = mismatched_batch(batch, 0);
  EXPECT_EQ(left.sequence_info[1].record, -1);
  EXPECT_TRUE(std::isnan(mismatched_sums(left, std::vector<float>(24, -1.0f))[1]));
  EXPECT_EQ(mismatched_sums(cut, std::vector<float>(24, -1.0f))[1], -1);
}

struct RecordSourceTest : testing::Test, test::RecordRig {
  Console console{false};
  static RecordBatching batching(std::int64_t records_per_step) {
    return {.records_per_step = records_per_step,
            .sequences = test::rig_sequences,
            .context = test::rig_context,
            .seed = 7};
  }
  ReferenceSums sums_of(const RecordDataset& data, test::ScoringRig& rig, Collective& collective) {
    ReferenceSums::Request request(data);
    request.sequences = test::rig_sequences;
    request.context = test::rig_context;
    request.cache_folder = folder / "cache";
    return *ReferenceSums::open(request, rig.scorer, rig.weights, collective, console, {});
  }
};

TEST_F(RecordSourceTest, AStepIsAFunctionOfItsPositionAndHasTheReferencesSums) {
  const RecordDataset data = dataset(test::pair_lines(11), RecordKind::preference);
  test::ScoringRig rig;
  Collective alone(one_rank(), *rig.backend.device, *rig.backend.ops, {});
  const ReferenceSums sums = sums_of(data, rig, alone);
  const RecordParts parts{.dataset = data,
                          .batching = batching(6),
                          .needs = {.records = true, .reference_sums = true},
                          .collective = alone,
                          .reference_sums = &sums};
  RecordSource source(parts), other(parts);
  StepData first, again;
  ASSERT_TRUE(source.next(0, 0, first));
  ASSERT_TRUE(source.next(1, 6, first));
  ASSERT_TRUE(other.next(1, 6, again));
  EXPECT_EQ(first.samples, 6);
  ASSERT_EQ(first.batches.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    const StepBatch& step = first.batches[i];
    EXPECT_EQ(step.batch.tokens, again.batches[i].batch.tokens);
    ASSERT_EQ(step.reference_sums.size(), 4u);
    for (std::size_t row = 0; row < 4; ++row) {
      const SequenceInfo& info = step.batch.sequence_info[row];
      EXPECT_EQ(step.reference_sums[row], info.record < 0 ? 0 : sums.sum(info.record, info.role));
    }
    EXPECT_EQ(step.view().reference_sums.data(), step.reference_sums.data());
  }
}

TEST_F(RecordSourceTest, KtoHasTheReferencesSumsOfMismatchedRecords) {
  const RecordDataset data = dataset(test::label_lines(10), RecordKind::unpaired);
  test::ScoringRig rig;
  Collective alone(one_rank(), *rig.backend.device, *rig.backend.ops, {});
  const ReferenceSums sums = sums_of(data, rig, alone);
  bool stop = false;
  RecordSource source({.dataset = data,
                       .batching = batching(5),
                       .needs = {.records = true, .reference_sums = true, .mismatched = true},
                       .collective = alone,
                       .stop_requested = [&] { return stop; },
                       .reference_sums = &sums,
                       .scorer = &rig.scorer,
                       .reference = &rig.weights});
  StepData step;
  ASSERT_TRUE(source.next(0, 0, step));
  ASSERT_EQ(step.batches.size(), 2u);
  for (const StepBatch& batch : step.batches) {
    ASSERT_TRUE(batch.mismatched.has_value());
    const TokenScores scores = rig.scorer.score(rig.weights, *batch.mismatched);
    const std::vector<double> expected = completion_sums(*batch.mismatched, scores.logp);
    for (std::size_t row = 0; row < 4; ++row) {
      if (batch.mismatched->sequence_info[row].record < 0) {
        EXPECT_TRUE(std::isnan(batch.mismatched_reference_sums[row]));
      } else {
        EXPECT_EQ(batch.mismatched_reference_sums[row], expected[row]);
      }
    }
  }
  // The second micro-batch has one record: nobody to compare it with.
  EXPECT_EQ(step.batches[1].mismatched->valid_tokens(), 0);
  stop = true;
  EXPECT_FALSE(source.next(1, 5, step));
}

TEST_F(RecordSourceTest, HasNoStateAndRefusesOne) {
  const RecordDataset data = dataset(test::pair_lines(4), RecordKind::preference);
  test::ScoringRig rig;
  Collective alone(one_rank(), *rig.backend.device, *rig.backend.ops, {});
  RecordSource source({.dataset = data, .batching = batching(2), .needs = {}, .collective = alone});
  source.restore("", "here");
  EXPECT_EQ(error_of([&] { source.restore("something", "here"); }).substr(0, 8), "4: here:");
}

}  // namespace
}  // namespace nll
