// What a reference model says of records, and the file that keeps it.
#include "src/train/reference_sums.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <limits>

#include "src/text/record_batches.h"
#include "src/train/reference_cache.h"
#include "tests/train/record_rig.h"

namespace nll {
namespace {

struct ReferenceSumsTest : testing::Test, test::RecordRig {
  Console console{false};

  ReferenceSums::Request request(const RecordDataset& dataset) const {
    ReferenceSums::Request made(dataset);
    made.sequences = test::rig_sequences;
    made.context = test::rig_context;
    made.key.weights = "some";
    made.cache_folder = folder / "cache";
    return made;
  }
  std::optional<ReferenceSums> open(const ReferenceSums::Request& asked, int* questions = nullptr,
                                    int stop_after = -1) {
    test::ScoringRig rig;
    Collective alone(one_rank(), *rig.backend.device, *rig.backend.ops, {});
    return ReferenceSums::open(asked, rig.scorer, rig.weights, alone, console, [&] {
      const int asked_so_far = questions == nullptr ? 0 : ++*questions;
      return stop_after >= 0 && asked_so_far > stop_after;
    });
  }
  static std::string path_of(const ReferenceSums::Request& asked) {
    return reference_cache_path(asked.cache_folder, key_of(asked), reference_records(asked));
  }
};

TEST_F(ReferenceSumsTest, AreSumsOverCompletionsInTheBatchesOfTraining) {
  const RecordDataset dataset = this->dataset(test::pair_lines(11), RecordKind::preference);
  const auto sums = open(request(dataset));
  ASSERT_TRUE(sums);
  test::ScoringRig rig;
  const RecordBatches batches(
      dataset, {.records_per_step = 11, .sequences = test::rig_sequences, .context = test::rig_context, .seed = 5});
  for (std::int64_t i = 0; i < batches.micro_batches(); ++i) {
    const Batch batch = batches.micro_batch(22, i);
    EXPECT_EQ(sums->rows(batch), completion_sums(batch, rig.scorer.score(rig.weights, batch).logp));
  }
}

TEST_F(ReferenceSumsTest, AreReadFromTheCacheWithoutTheModel) {
  const RecordDataset dataset = this->dataset(test::pair_lines(9), RecordKind::preference);
  const auto asked = request(dataset);
  const auto made = open(asked);
  // Other numbers under the same key show that it is the file that is read.
  ReferenceCache cache = ReferenceCache::read(path_of(asked), key_of(asked).hash(), 9);
  ASSERT_EQ(cache.sums.size(), 18u);
  EXPECT_EQ(cache.sums[3], made->sum(1, 1));
  cache.sums[3] = -123;
  cache.write(path_of(asked), key_of(asked).hash());
  int questions = 0;
  EXPECT_EQ(open(asked, &questions)->sum(1, 1), -123);
  EXPECT_EQ(questions, 0);
}

TEST_F(ReferenceSumsTest, AreMadeAgainWhereTheFileIsDamagedOrOfSomethingElse) {
  const RecordDataset dataset = this->dataset(test::pair_lines(9), RecordKind::preference);
  const auto asked = request(dataset);
  const auto made = open(asked);
  const std::string path = path_of(asked), whole = read_file(path);
  std::vector<std::string> bad = {"", whole.substr(0, 30), whole.substr(0, whole.size() - 8), whole + "more"};
  for (const std::size_t at : {std::size_t{0}, std::size_t{9}, std::size_t{17}, std::size_t{33}, whole.size() - 3}) {
    bad.push_back(whole);
    bad.back()[at] = static_cast<char>(bad.back()[at] ^ 4);
  }
  for (const std::string& bytes : bad) {
    write_file(path, bytes);
    EXPECT_NE(error_of([&] { ReferenceCache::read(path, key_of(asked).hash(), 9); }), "no error");
    const auto again = open(asked);
    for (std::int64_t record = 0; record < 9; ++record) EXPECT_EQ(again->sum(record, 1), made->sum(record, 1));
    EXPECT_EQ(read_file(path), whole);
  }
}

TEST_F(ReferenceSumsTest, EverythingThatTheyDependOnIsInTheKey) {
  const ReferenceKey key{.weights = "a", .numerics = "b"};
  std::vector<ReferenceKey> others(8, key);
  others[0].weights = "b";
  others[1].tokenizer = 1;
  others[2].dataset = 1;
  others[3].max_length = 1;
  others[4].sequences = 1;
  others[5].context = 1;
  others[6].numerics = "c";
  for (std::size_t i = 0; i < 7; ++i) EXPECT_NE(others[i].hash(), key.hash()) << i;
  EXPECT_EQ(others[7].hash(), key.hash());
  test::ScoringRig one(1), two(2), again(1);
  EXPECT_EQ(hash_of_tensor(*one.backend.device, one.arena()), hash_of_tensor(*again.backend.device, again.arena()));
  EXPECT_NE(hash_of_tensor(*one.backend.device, one.arena()), hash_of_tensor(*two.backend.device, two.arena()));
}

TEST_F(ReferenceSumsTest, AreTheSameAtAnyNumberOfRanks) {
  const RecordDataset dataset = this->dataset(test::pair_lines(13), RecordKind::preference);
  auto asked = request(dataset);
  const auto one = open(asked);
  for (const int ranks : {2, 3}) {
    asked.cache_folder = folder / ("cache" + std::to_string(ranks));
    test::on_ranks(ranks, [&](test::ScoringRig& rig, Collective& collective) {
      Console quiet(false);
      const auto sums = ReferenceSums::open(asked, rig.scorer, rig.weights, collective, quiet, {});
      for (std::int64_t record = 0; record < 13; ++record) {
        for (const std::int64_t role : {0, 1}) EXPECT_EQ(sums->sum(record, role), one->sum(record, role));
      }
    });
  }
}

TEST_F(ReferenceSumsTest, CoverTheFirstRecordsWhereNoMoreAreAskedFor) {
  const RecordDataset dataset = this->dataset(test::pair_lines(9), RecordKind::preference);
  auto asked = request(dataset);
  const auto all = open(asked);
  asked.records = 3;
  const auto few = open(asked);
  ASSERT_EQ(few->records(), 3);
  for (std::int64_t record = 0; record < 3; ++record) EXPECT_EQ(few->sum(record, 0), all->sum(record, 0));
}

TEST_F(ReferenceSumsTest, StopWithinAMicroBatchAndKeepNothing) {
  const RecordDataset dataset = this->dataset(test::pair_lines(9), RecordKind::preference);
  const auto asked = request(dataset);
  int questions = 0;
  EXPECT_FALSE(open(asked, &questions, 2));
  EXPECT_EQ(questions, 3);
  EXPECT_FALSE(std::filesystem::exists(asked.cache_folder));
}

TEST_F(ReferenceSumsTest, AreRefusedWhereTheyAreNotFinite) {
  const RecordDataset dataset = this->dataset(test::pair_lines(2), RecordKind::preference);
  test::ScoringRig rig;
  rig.weights.final_bias.as<float>()[0] = std::numeric_limits<float>::infinity();
  Collective alone(one_rank(), *rig.backend.device, *rig.backend.ops, {});
  const std::string error = error_of(
      [&] { ReferenceSums::open(request(dataset), rig.scorer, rig.weights, alone, console, {}); }, folder.path());
  EXPECT_EQ(error.substr(0, 44), "4: records.jsonl:1: the reference model give") << error;
}

}  // namespace
}  // namespace nll
