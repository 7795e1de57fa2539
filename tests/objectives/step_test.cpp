#include "src/objectives/step.h"

#include <gtest/gtest.h>

#include "src/objectives/records.h"

namespace nll {
namespace {

TEST(CompletionPositions, TokenIIsPredictedAtPositionIMinusOne) {
  SequenceInfo info;
  info.prompt_tokens = 3;
  info.tokens = 7;
  Positions p = completion_positions(info, 10);
  EXPECT_EQ(p.begin, 2u) << "predicts token 3, the first of the completion";
  EXPECT_EQ(p.end, 6u) << "position 5 predicts token 6, the last";
  // The last token need not be an input: T + 1 tokens fit T positions.
  p = completion_positions(info, 6);
  EXPECT_EQ(p.end, 6u);
  // Without a prompt the first token is predicted by nothing.
  info.prompt_tokens = 0;
  EXPECT_EQ(completion_positions(info, 10).begin, 0u);
  info.prompt_tokens = 7;
  p = completion_positions(info, 10);
  EXPECT_EQ(p.begin, p.end) << "nothing but a prompt";
  info.tokens = 0;
  EXPECT_EQ(completion_positions(info, 10).end, 0u);
}

Batch batch_of(std::vector<std::int32_t> targets, std::vector<SequenceInfo> info) {
  Batch batch;
  batch.sequences = static_cast<std::int64_t>(info.size());
  batch.context = static_cast<std::int64_t>(targets.size() / info.size());
  batch.tokens.assign(targets.size(), 0);
  batch.targets = std::move(targets);
  batch.sequence_info = std::move(info);
  return batch;
}

SequenceInfo info_of(std::int64_t record, std::int32_t role, std::int64_t prompt, std::int64_t tokens) {
  SequenceInfo info;
  info.record = record;
  info.role = role;
  info.prompt_tokens = prompt;
  info.tokens = tokens;
  return info;
}

TEST(Step, CountsWhatLossesAreDividedBy) {
  // Chosen: a prompt of two tokens, counted, and three more; rejected: one of two tokens masked; a filler; an empty
  // one.
  const Batch first = batch_of({5, 6, 7, 8, -100, -100, -100, 9}, {info_of(4, 0, 2, 5), info_of(4, 1, 3, 5)});
  const Batch second = batch_of({-100, -100, -100, -100}, {info_of(-1, 0, 0, 0), info_of(5, 0, 1, 3)});
  const MicroBatch parts[] = {{.batch = &first}, {.batch = &second}};
  const Step step(parts);
  EXPECT_EQ(step.sequences().size(), 3u);
  EXPECT_EQ(step.positions(), 12u);
  EXPECT_EQ(step.sequences()[2].offset, 10u) << "positions of fillers are positions";
  EXPECT_EQ(step.sequences()[2].micro_batch, 1u);
  const StepCounts counts = count(step);
  EXPECT_EQ(counts.sequences, 3);
  EXPECT_EQ(counts.scored_sequences, 2);
  EXPECT_EQ(counts.records, 2);
  EXPECT_EQ(counts.tokens, 5);
  EXPECT_EQ(counts.completion_tokens, 4);
  EXPECT_EQ(counts.chosen_tokens, 3);
  EXPECT_EQ(counts.chosen_prompt_tokens, 1);
  EXPECT_EQ(counts.micro_batches, 2);
  StepCounts twice = StepCounts::from_numbers(counts.numbers());
  EXPECT_EQ(twice.numbers(), counts.numbers());
  twice += counts;
  EXPECT_EQ(twice.tokens, 10);
  EXPECT_EQ(twice.micro_batches, 4);
}

TEST(Step, PlainTextIsACompletionFromItsFirstTarget) {
  Batch text = batch_of({5, 6, -100, 8}, {SequenceInfo{}, SequenceInfo{}});
  text.sequence_info.clear();
  const MicroBatch parts[] = {{.batch = &text}};
  const Step step(parts);
  ASSERT_EQ(step.sequences().size(), 2u);
  EXPECT_EQ(step.sequences()[0].tokens, 2);
  EXPECT_EQ(step.sequences()[1].tokens, 1);
  EXPECT_EQ(count(step).tokens, 3);
}

TEST(Step, MicroBatchesMayHaveContextsOfTheirOwn) {
  const Batch narrow = batch_of({5, 6}, {info_of(0, 0, 1, 3)}), wide = batch_of({5, 6, 7, 8}, {info_of(1, 0, 1, 5)});
  const MicroBatch parts[] = {{.batch = &narrow}, {.batch = &wide}};
  const Step step(parts);
  EXPECT_EQ(step.positions(), 6u);
  EXPECT_EQ(step.sequences()[1].offset, 2u);
  EXPECT_EQ(step.sequences()[1].tokens, 4);
}

TEST(Records, OneMayLieInTwoMicroBatchesWithFillersBetween) {
  const Batch first = batch_of({1, 1}, {info_of(3, 0, 1, 2), info_of(-1, 0, 0, 0)});
  const Batch second = batch_of({1, 1}, {info_of(3, 1, 1, 2), info_of(3, 2, 1, 2)});
  const MicroBatch parts[] = {{.batch = &first}, {.batch = &second}};
  const Step step(parts);
  const Records records(step);
  ASSERT_EQ(records.size(), 1u);
  ASSERT_EQ(records[0].size(), 3u);
  EXPECT_EQ(records[0][2]->info.role, 2);
}

TEST(Records, ANegativeWithoutItsPositiveIsAFaultOfTheProgram) {
  const Batch lone = batch_of({1}, {info_of(3, 1, 1, 2)});
  const Batch mixed = batch_of({1, 1}, {info_of(3, 0, 1, 2), info_of(4, 1, 1, 2)});
  const Batch skipped = batch_of({1, 1}, {info_of(3, 0, 1, 2), info_of(3, 2, 1, 2)});
  for (const Batch* batch : {&lone, &mixed, &skipped}) {
    const MicroBatch parts[] = {{.batch = batch}};
    const Step step(parts);
    EXPECT_THROW(Records{step}, std::logic_error);
  }
}

}  // namespace
}  // namespace nll
