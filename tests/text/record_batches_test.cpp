#include "src/text/record_batches.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "kernels/ops.h"
#include "tests/text/byte_tokenizer.h"

namespace nll {
namespace {

struct RecordBatchesTest : testing::Test {
  TemporaryFolder folder;
  Tokenizer tokenizer = byte_tokenizer();

  RecordDataset dataset(const std::string& lines, RecordKind kind, bool assistant_only = false) {
    RecordOptions options;
    options.files = {write_file(folder / "r.jsonl", lines)};
    options.kind = kind;
    options.markers = {{"S", ";"}, {"U", ";"}, {"A", "<|im_end|>"}, {"T", ";"}, assistant_only};
    options.cache_folder = folder.path();
    return {options, tokenizer};
  }
  RecordDataset pairs(int count) {
    std::string lines;
    for (int i = 0; i < count; ++i) {
      lines += R"({"prompt": "p", "chosen": "c)" + std::to_string(i) +
               R"(", "rejected": "r"})"
               "\n";
    }
    return dataset(lines, RecordKind::preference);
  }
};

RecordBatching batching(std::int64_t records_per_step, std::int64_t sequences, std::int64_t context,
                        std::int64_t rank = 0, std::int64_t ranks = 1) {
  RecordBatching made;
  made.records_per_step = records_per_step;
  made.sequences = sequences;
  made.context = context;
  made.seed = 11;
  made.rank = rank;
  made.ranks = ranks;
  return made;
}

constexpr std::int32_t none = ignore_index;

TEST_F(RecordBatchesTest, ThePositionBeforeATokenHasItAsItsTarget) {
  const RecordDataset data =
      dataset(R"({"prompt": "12", "chosen": "34", "rejected": "5", "margin": 3})", RecordKind::preference);
  const RecordBatches batches(data, batching(1, 3, 7));
  ASSERT_EQ(batches.micro_batches(), 1);
  const Batch batch = batches.micro_batch(0, 0);
  EXPECT_EQ(batch.sequences, 3);
  EXPECT_EQ(batch.context, 7);
  const std::int32_t e = end_of_text;
  EXPECT_EQ(batch.tokens, (Ids{'1', '2', '3', '4', e, e, e, '1', '2', '5', e, e, e, e, e, e, e, e, e, e, e}));
  EXPECT_EQ(batch.targets, (Ids{none, '3',  '4',  e,    none, none, none, none, '5',  e,   none,
                                none, none, none, none, none, none, none, none, none, none}));
  ASSERT_EQ(batch.sequence_info.size(), 3u);
  EXPECT_EQ(batch.sequence_info[0].record, 0);
  EXPECT_EQ(batch.sequence_info[0].role, 0);
  EXPECT_EQ(batch.sequence_info[0].margin, 3);
  EXPECT_EQ(batch.sequence_info[0].prompt_tokens, 2);
  EXPECT_EQ(batch.sequence_info[0].tokens, 5);
  EXPECT_EQ(batch.sequence_info[1].role, 1);
  EXPECT_EQ(batch.sequence_info[1].tokens, 4);
  EXPECT_EQ(batch.sequence_info[2].record, -1);
  EXPECT_EQ(batch.sequence_info[2].tokens, 0);
  EXPECT_EQ(batch.valid_tokens(), 5);
}

TEST_F(RecordBatchesTest, ASequenceMayFillTheContext) {
  const RecordDataset data = dataset(R"({"prompt": "12", "completion": "34"})", RecordKind::supervised);
  const Batch batch = RecordBatches(data, batching(1, 1, 5)).micro_batch(0, 0);
  EXPECT_EQ(batch.tokens, (Ids{'1', '2', '3', '4', end_of_text}));
  EXPECT_EQ(batch.targets, (Ids{none, '3', '4', end_of_text, none}));
}

TEST_F(RecordBatchesTest, MasksHaveHolesWhereOthersSpeak) {
  const RecordDataset data =
      dataset(R"({"messages": [{"role": "assistant", "content": "1"}, {"role": "user", "content": "2"},)"
              R"({"role": "assistant", "content": "3"}]})",
              RecordKind::supervised, true);
  const Batch batch = RecordBatches(data, batching(1, 1, 10)).micro_batch(0, 0);
  EXPECT_EQ(batch.tokens, (Ids{'A', '1', end_turn, 'U', '2', ';', 'A', '3', end_turn, end_of_text}));
  EXPECT_EQ(batch.targets, (Ids{'1', end_turn, none, none, none, none, '3', end_turn, end_of_text, none}));
}

TEST_F(RecordBatchesTest, PromptsAreTargetsOfTheFirstRoleWhereThatIsAskedFor) {
  const RecordDataset data = dataset(R"({"prompt": "12", "chosen": "3", "rejected": "5"})", RecordKind::preference);
  RecordBatching how = batching(1, 2, 4);
  how.prompt_targets = true;
  const Batch batch = RecordBatches(data, how).micro_batch(0, 0);
  EXPECT_EQ(batch.targets, (Ids{'2', '3', end_of_text, none, none, '5', end_of_text, none}));
}

TEST_F(RecordBatchesTest, PromptsAloneHaveNoTargets) {
  const RecordDataset data = dataset(R"({"prompt": "12"})", RecordKind::prompt_only);
  const Batch batch = RecordBatches(data, batching(1, 1, 3)).micro_batch(0, 0);
  EXPECT_EQ(batch.tokens, (Ids{'1', '2', end_of_text}));
  EXPECT_EQ(batch.valid_tokens(), 0);
  EXPECT_EQ(batch.sequence_info[0].prompt_tokens, 2);
}

TEST_F(RecordBatchesTest, EveryRecordComesOnceAnEpochAtAnyNumberOfRanks) {
  constexpr std::int64_t records = 13, step = 5;
  const RecordDataset data = pairs(records);
  std::vector<std::multiset<std::int64_t>> expected;  // of each step, on one rank
  for (std::int64_t ranks = 1; ranks <= 4; ++ranks) {
    std::map<std::int64_t, int> seen;
    for (std::int64_t number = 0; number < records; ++number) {  // 13 steps of 5 records: 5 epochs of 13
      std::multiset<std::int64_t> of_step;
      for (std::int64_t rank = 0; rank < ranks; ++rank) {
        const RecordBatches batches(data, batching(step, 4, 8, rank, ranks));
        EXPECT_EQ(batches.micro_batches(), ((step + ranks - 1) / ranks + 1) / 2);
        std::vector<std::int64_t> found;
        for (std::int64_t micro = 0; micro < batches.micro_batches(); ++micro) {
          const Batch batch = batches.micro_batch(number * step, micro);
          ASSERT_EQ(batch.sequence_info.size(), 4u);
          for (std::size_t row = 0; row < 4; row += 2) {
            const SequenceInfo &chosen = batch.sequence_info[row], &rejected = batch.sequence_info[row + 1];
            EXPECT_EQ(chosen.record, rejected.record);
            if (chosen.record < 0) continue;
            EXPECT_EQ(chosen.role, 0);
            EXPECT_EQ(rejected.role, 1);
            found.push_back(chosen.record);
          }
        }
        EXPECT_EQ(found, batches.records(number * step));
        of_step.insert(found.begin(), found.end());
      }
      EXPECT_EQ(of_step.size(), static_cast<std::size_t>(step));
      for (const std::int64_t record : of_step) ++seen[record];
      if (ranks == 1) expected.push_back(of_step);
      EXPECT_EQ(of_step, expected[static_cast<std::size_t>(number)]) << ranks;
    }
    EXPECT_EQ(seen.size(), static_cast<std::size_t>(records));
    for (const auto& [record, times] : seen) EXPECT_EQ(times, step) << record;
  }
}

TEST_F(RecordBatchesTest, EpochsAndSeedsHaveOrdersOfTheirOwn) {
  const RecordDataset data = pairs(40);
  RecordBatching how = batching(40, 2, 8);
  const RecordBatches batches(data, how);
  std::vector<std::int64_t> first = batches.records(0), second = batches.records(40);
  EXPECT_NE(first, second);
  ++how.seed;
  EXPECT_NE(RecordBatches(data, how).records(0), first);
  std::sort(first.begin(), first.end());
  std::sort(second.begin(), second.end());
  EXPECT_EQ(first, second);
}

TEST_F(RecordBatchesTest, APositionIsAllThatResumingNeeds) {
  const RecordDataset data = pairs(9);
  const RecordBatches by_four(data, batching(4, 2, 8)), by_two(data, batching(2, 2, 8));
  const std::vector<std::int64_t> left = by_two.records(8), right = by_two.records(10);
  std::vector<std::int64_t> both = left;
  both.insert(both.end(), right.begin(), right.end());
  EXPECT_EQ(by_four.records(8), both);
  EXPECT_EQ(by_four.micro_batch(8, 1).tokens, RecordBatches(data, batching(4, 2, 8)).micro_batch(8, 1).tokens);
}

TEST_F(RecordBatchesTest, OnceGoesThroughTheFilesInTheirOrderAndEnds) {
  const RecordDataset data = pairs(5);
  for (std::int64_t ranks = 1; ranks <= 3; ++ranks) {
    std::vector<std::int64_t> all;
    for (std::int64_t position = 0; position < 9; position += 3) {
      for (std::int64_t rank = 0; rank < ranks; ++rank) {
        RecordBatching how = batching(3, 2, 8, rank, ranks);
        how.order = RecordOrder::once;
        const RecordBatches batches(data, how);
        for (const std::int64_t record : batches.records(position)) all.push_back(record);
        if (position == 6) {
          EXPECT_EQ(batches.micro_batch(position, 0).valid_tokens(), 0);
        }
      }
    }
    EXPECT_EQ(all, (std::vector<std::int64_t>{0, 1, 2, 3, 4}));
  }
}

TEST_F(RecordBatchesTest, RecordsOfDifferentWidthsAreNeverParted) {
  const RecordDataset data = dataset(R"({"prompt": "p", "positive": "1", "negatives": ["2"]})"
                                     "\n"
                                     R"({"prompt": "p", "positive": "1", "negatives": ["2", "3"]})"
                                     "\n"
                                     R"({"prompt": "p", "positive": "1", "negatives": ["2"]})",
                                     RecordKind::contrastive);
  EXPECT_EQ(data.widest(), 3);
  RecordBatching how = batching(3, 7, 8);
  how.order = RecordOrder::once;
  const RecordBatches batches(data, how);
  ASSERT_EQ(batches.micro_batches(), 2);
  std::vector<std::pair<std::int64_t, std::int32_t>> rows;
  for (std::int64_t micro = 0; micro < 2; ++micro) {
    for (const SequenceInfo& info : batches.micro_batch(0, micro).sequence_info)
      rows.emplace_back(info.record, info.role);
  }
  const std::pair<std::int64_t, std::int32_t> filler(-1, 0);
  EXPECT_EQ(rows, (std::vector<std::pair<std::int64_t, std::int32_t>>{{0, 0},
                                                                      {0, 1},
                                                                      {1, 0},
                                                                      {1, 1},
                                                                      {1, 2},
                                                                      filler,
                                                                      filler,
                                                                      {2, 0},
                                                                      {2, 1},
                                                                      filler,
                                                                      filler,
                                                                      filler,
                                                                      filler,
                                                                      filler}));
}

TEST_F(RecordBatchesTest, RefusesBatchesThatAreTooSmall) {
  const RecordDataset data = pairs(3);
  EXPECT_EQ(error_of([&] { RecordBatches(data, batching(3, 1, 8)); }),
            "2: a micro-batch of 1 sequences cannot hold a record of 2");
  EXPECT_EQ(error_of([&] { RecordBatches(data, batching(3, 2, 3)); }),
            "2: a context of 3 cannot hold a sequence of 4 tokens");
  EXPECT_EQ(error_of([&] { RecordBatches(data, batching(3, 2, 8, 0, 4)); }),
            "2: 3 records in an optimizer step cannot be shared by 4 ranks (expected at least one each)");
}

}  // namespace
}  // namespace nll
