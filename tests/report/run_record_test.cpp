// A run's folder as a report reads it.
#include "src/report/run_record.h"

#include <gtest/gtest.h>

#include "kernels/check.h"
#include "tests/report/temporary_folder.h"

namespace nll {
namespace {

std::string line(const char* event, std::int64_t step) { return to_json({event, step, step, {}}) + "\n"; }

// "train 1, train 2, ..." of what is left, and the warnings.
struct Story {
  std::string told;
  std::vector<std::string> warnings;
};
Story story_of(const TemporaryFolder& folder, const std::string& content) {
  Story story;
  const auto warn = [&](const std::string& warning) { story.warnings.push_back(warning); };
  for (const Event& event : read_story(folder.write("metrics.jsonl", content), warn)) {
    story.told += (story.told.empty() ? "" : ", ") + event.event + " " + std::to_string(event.step);
  }
  return story;
}

TEST(RunRecord, WhatAResumeTookBackIsNotToldTwice) {
  const TemporaryFolder folder;
  const std::string content = line("start", 0) + line("train", 1) + line("train", 2) + line("checkpoint", 2) +
                              line("validation", 2) + line("train", 3) + line("resume", 2) + line("validation", 2) +
                              line("train", 3) + line("train", 4);
  const Story story = story_of(folder, content);
  EXPECT_EQ(story.told, "start 0, train 1, train 2, resume 2, validation 2, train 3, train 4");
  EXPECT_TRUE(story.warnings.empty());
}

TEST(RunRecord, BrokenLinesAreLeftOutByNameAndNumber) {
  const TemporaryFolder folder;
  const Story story =
      story_of(folder, line("train", 1) + "{\"event\": \n" + line("train", 2) + "{\"event\": \"train\", \"step\": 3");
  EXPECT_EQ(story.told, "train 1, train 2");
  ASSERT_EQ(story.warnings.size(), 2u);
  EXPECT_NE(story.warnings[0].find("metrics.jsonl:2: left out: not valid JSON"), std::string::npos)
      << story.warnings[0];
  EXPECT_NE(story.warnings[1].find("metrics.jsonl:4: left out: "), std::string::npos) << story.warnings[1];
}

TEST(RunRecord, ALastLineWithoutItsEndIsTornHoweverWholeItLooks) {
  const TemporaryFolder folder;
  const std::string whole = line("train", 1) + line("train", 2);
  for (std::size_t size = line("train", 1).size() + 1; size < whole.size(); ++size) {
    const Story story = story_of(folder, whole.substr(0, size));
    EXPECT_EQ(story.told, "train 1") << size;
    EXPECT_EQ(story.warnings.size(), 1u) << size;
  }
  EXPECT_EQ(story_of(folder, "").told, "");
}

TEST(RunRecord, ConfigIsFlatAndInItsOrder) {
  const ConfigKeys keys = config_keys(R"({ // a comment
    "run": {"directory": "runs/a", "seed": 1}, "device": "auto", "data": {"train": ["a", "b"]}, "empty": {} })",
                                      "");
  EXPECT_EQ(keys, (ConfigKeys{{"run.directory", "\"runs/a\""},
                              {"run.seed", "1"},
                              {"device", "\"auto\""},
                              {"data.train", "[\"a\",\"b\"]"}}));
  EXPECT_THROW(config_keys("[1]", "config.json"), Error);
  EXPECT_THROW(config_keys("{", "config.json"), Error);
}

TEST(RunRecord, AFolderThatIsNoRunIsAnErrorThatSaysWhatIsMissing) {
  const TemporaryFolder folder;
  const auto error_of = [](const std::string& path) -> std::string {
    try {
      read_run(path, [](const std::string&) {});
      return "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::no_checkpoint);
      return error.what();
    }
  };
  EXPECT_NE(error_of(folder.path("none")).find("none: no such folder"), std::string::npos);
  EXPECT_NE(error_of(folder.write("file", "")).find("file: not a folder"), std::string::npos);
  EXPECT_NE(error_of(folder.path("")).find("no metrics.jsonl"), std::string::npos);
}

TEST(RunRecord, ABrokenConfigIsAWarning) {
  const TemporaryFolder folder;
  folder.write("metrics.jsonl", line("train", 1));
  folder.write("config.json", "{broken");
  std::vector<std::string> warnings;
  const RunRecord run = read_run(folder.path(""), [&](const std::string& warning) { warnings.push_back(warning); });
  EXPECT_EQ(run.events.size(), 1u);
  EXPECT_TRUE(run.config.empty());
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("config.json"), std::string::npos);
}

}  // namespace
}  // namespace nll
