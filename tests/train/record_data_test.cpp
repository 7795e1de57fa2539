// The records of a config, opened.
#include "src/train/record_data.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <filesystem>

#include "tests/train/record_rig.h"

namespace nll {
namespace {

namespace fs = std::filesystem;

struct RecordDataTest : testing::Test, test::RecordRig {
  Config config;

  RecordDataTest() {
    config.run.directory = folder / "runs/one";
    config.objective.kind = "dpo";
    config.model = test::rig_model();
    config.data.train = {write_file(folder / "train.jsonl", test::pair_lines(9))};
    config.data.tokenizer = write_file(folder / "tokenizer.json", byte_tokenizer_json());
    config.cpu.threads = 1;
  }
  // What the console says.
  std::string opened(RecordData& data, const RecordCacheFolder& cache) const {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe(ends.data()), 0);
    {
      Console console(false, ends[1]);
      data = open_record_data(config, cache, console);
    }
    ::close(ends[1]);
    std::string said(65536, '\0');
    said.resize(static_cast<std::size_t>(std::max<ssize_t>(::read(ends[0], said.data(), said.size()), 0)));
    ::close(ends[0]);
    return said;
  }
  RecordData open() const {
    RecordData data;
    const RecordCacheFolder cache(config);
    opened(data, cache);
    return data;
  }
};

TEST_F(RecordDataTest, SaysWhatBecameOfLinesAndKeepsACacheInTheRun) {
  config.data.train = {write_file(folder / "bad.jsonl", test::pair_lines(3) + "{}\nno json\n{}\n")};
  config.data.validation = {write_file(folder / "held.jsonl", test::pair_lines(2))};
  config.records.bad = "skip";
  RecordData data;
  {
    RecordCacheFolder cache(config);
    const std::string said = opened(data, cache);
    for (const char* part : {"training records: 3 records of 6 lines; 3 lines skipped", "bad.jsonl:4: ",
                             "bad.jsonl:5: ", "held-out records: 2 records", "tokenized records for later runs"}) {
      EXPECT_NE(said.find(part), std::string::npos) << part << " in " << said;
    }
    cache.keep();
  }
  EXPECT_EQ(data.train->records(), 3);
  EXPECT_EQ(data.validation->records(), 2);
  EXPECT_NE(data.fingerprint(), data.validation->fingerprint());
  EXPECT_TRUE(fs::is_directory(config.run.directory + "/records"));
  const RecordCacheFolder cache(config);
  EXPECT_NE(opened(data, cache).find("tokenized records from an earlier run"), std::string::npos);
}

TEST_F(RecordDataTest, WhatIsNotKeptLeavesNothingBehind) {
  open();
  EXPECT_FALSE(fs::exists(folder / "runs"));
  config.data.train = {write_file(folder / "bad.jsonl", test::pair_lines(3) + "{}\n")};
  EXPECT_EQ(error_of([&] { open(); }, folder.path()).substr(0, 15), "4: bad.jsonl:4:");
  EXPECT_FALSE(fs::exists(folder / "runs"));
  // A folder that was there stays, with all that was in it.
  fs::create_directories(folder / "runs/one/records");
  write_file(folder / "runs/one/records/records-1.cache", "an earlier one");
  config.data.train = {folder / "train.jsonl"};
  open();
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / "runs/one/records"), {}), 1);
  EXPECT_EQ(read_file(folder / "runs/one/records/records-1.cache"), "an earlier one");
}

TEST_F(RecordDataTest, FilesAreNamesAndGlobsInTheirOrderAndNoneTwice) {
  write_file(folder / "b.jsonl", "");
  write_file(folder / "a.jsonl", "");
  const auto found =
      find_record_files({folder / "train.jsonl", folder / "?.jsonl", folder / "./a.jsonl"}, "data.train");
  EXPECT_EQ(found, (std::vector<std::string>{folder / "train.jsonl", folder / "a.jsonl", folder / "b.jsonl"}));
  EXPECT_EQ(error_of([&] { find_record_files({folder / "no*.jsonl"}, "data.train"); }, folder.path()),
            "4: data.train: \"no*.jsonl\": no such file, and no glob that matches any");
}

TEST_F(RecordDataTest, TheTokenizerIsTheOneNamedElseThatOfTheModelElseThatOfTheRun) {
  EXPECT_EQ(open().tokenizer_place, folder / "tokenizer.json");
  const auto folder_with_tokenizer = [&](const std::string& name) {
    fs::create_directories(folder / name);
    write_file(folder / (name + "/tokenizer.json"), byte_tokenizer_json());
    return folder / name;
  };
  config.data.tokenizer = "";
  EXPECT_EQ(error_of([&] { open(); }).substr(0, 27), "2: data.tokenizer: is empty");
  const std::string checkpoint = folder_with_tokenizer("runs/one/checkpoints/step_00000003");
  EXPECT_EQ(fs::path(open().tokenizer_place).lexically_normal(), fs::path(checkpoint).lexically_normal());
  config.run.initial_weights = folder_with_tokenizer("model");
  EXPECT_EQ(open().tokenizer_place, folder / "model");
}

TEST_F(RecordDataTest, AVocabularyThatIsTooSmallIsNamed) {
  config.model.vocabulary = 259;
  EXPECT_EQ(error_of([&] { open(); }, folder.path()),
            "4: model.vocabulary: 259 is less than the 260 ids of tokenizer.json");
}

TEST_F(RecordDataTest, TheContextIsTheLongestSequenceInSixteens) {
  const RecordData data = open();
  EXPECT_EQ(data.train->longest(), 10);
  EXPECT_EQ(record_context(data, config), 16);
  EXPECT_EQ(record_width(data, config), 2);
  config.model.context = 12;
  EXPECT_EQ(record_context(data, config), 12);
}

TEST_F(RecordDataTest, PromptsLeaveRoomForWhatIsSampled) {
  config.objective.kind = "grpo";
  config.rollout.max_tokens = 40;
  config.data.train = {
      write_file(folder / "prompts.jsonl", "{\"prompt\": \"12345678\"}\n{\"prompt\": \"123456789\"}\n")};
  const RecordData data = open();
  EXPECT_EQ(data.train->records(), 1);
  EXPECT_EQ(data.train->summary().too_long, 1);
  EXPECT_EQ(record_context(data, config), 48);
  config.rollout.max_tokens = 47;
  EXPECT_EQ(error_of([&] { open(); }).substr(0, 26), "2: rollout.max_tokens: 47 ");
}

TEST_F(RecordDataTest, EachObjectiveHasItsKindOfRecords) {
  for (const auto& [kind, records] : {std::pair{"sft", RecordKind::supervised},
                                      {"mixer", RecordKind::supervised},
                                      {"kto", RecordKind::unpaired},
                                      {"reward", RecordKind::preference},
                                      {"orpo", RecordKind::preference},
                                      {"contrastive", RecordKind::contrastive},
                                      {"ppo", RecordKind::prompt_only},
                                      {"reinforce", RecordKind::prompt_only}}) {
    ObjectiveConfig objective;
    objective.kind = kind;
    EXPECT_EQ(record_kind_of(objective), records) << kind;
  }
  config.objective.kind = "reward";
  EXPECT_EQ(record_options(config, {}, "c", 1).long_records, LongRecords::drop);
  config.objective.kind = "dpo";
  EXPECT_EQ(record_options(config, {}, "c", 1).long_records, LongRecords::cut);
}

TEST_F(RecordDataTest, KtoSaysHowItsClassesWeigh) {
  config.objective.kind = "kto";
  config.data.train = {write_file(folder / "labels.jsonl", test::label_lines(9))};
  RecordData data;
  const RecordCacheFolder cache(config);
  const std::string said = opened(data, cache);
  EXPECT_NE(said.find("3 desirable, 6 undesirable"), std::string::npos) << said;
  EXPECT_NE(said.find("desirable_weight between 2 and 2.67"), std::string::npos) << said;
}

}  // namespace
}  // namespace nll
