// Interrupted and resumed equals never interrupted, bit for bit.
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/train/rig.h"

namespace nll::test {

namespace {

void expect_same_end(const Config& a, const Config& b, std::int64_t step) {
  for (const char* file : {"model.safetensors", "optimizer.safetensors"}) {
    const std::string left = read_file(checkpoint_of(a, step) + "/" + file),
                      right = read_file(checkpoint_of(b, step) + "/" + file);
    ASSERT_FALSE(left.empty()) << file;
    EXPECT_TRUE(left == right) << file << " differs at step " << step;
  }
  EXPECT_EQ(story(a), story(b));
}

}  // namespace

TEST(Resume, StoppedAfterEachStepEqualsNeverStopped) {
  Folder folder;
  write_corpus(folder / "data", 2000, 61);
  Config whole = tiny_config(folder);
  ASSERT_EQ(run(whole).exit, Exit::done);
  for (std::int64_t first = 1; first < whole.schedule.steps; ++first) {
    Config parts = whole;
    parts.run.directory = folder / ("parts" + std::to_string(first));
    ASSERT_EQ(run(parts, ResumePolicy::automatic, first).exit, Exit::done);
    ASSERT_EQ(run(parts, ResumePolicy::automatic).exit, Exit::done);
    expect_same_end(whole, parts, whole.schedule.steps);
  }
}

TEST(Resume, StoppedAtAnyQuestionIncludingInsideStepsAndEvaluationsEqualsNeverStopped) {
  Folder folder;
  write_corpus(folder / "data", 2000, 61);
  Config whole = tiny_config(folder);
  ASSERT_EQ(run(whole).exit, Exit::done);
  for (std::int64_t stop_after : {0, 1, 2, 5, 8, 9, 10, 11, 12, 17, 23}) {
    Config parts = whole;
    parts.run.directory = folder / ("stopped" + std::to_string(stop_after));
    ASSERT_EQ(run(parts, ResumePolicy::automatic, 0, stop_after).exit, Exit::stopped);
    ASSERT_EQ(run(parts, ResumePolicy::automatic).exit, Exit::done);
    expect_same_end(whole, parts, whole.schedule.steps);
  }
}

TEST(Resume, AStopInTheMiddleOfAStepSavesTheLastWholeStep) {
  Folder folder;
  write_corpus(folder / "data", 2000, 61);
  const Config config = tiny_config(folder);
  // Two micro-batches a step: the fourth question is asked in the middle of the second step.
  ASSERT_EQ(run(config, ResumePolicy::refuse, 0, 3).exit, Exit::stopped);
  EXPECT_TRUE(std::filesystem::exists(checkpoint_of(config, 1) + "/manifest.json"));
  EXPECT_FALSE(std::filesystem::exists(checkpoint_of(config, 2)));
}

TEST(Resume, ACorruptNewestCheckpointIsPassedOver) {
  Folder folder;
  write_corpus(folder / "data", 2000, 61);
  Config whole = tiny_config(folder), broken = whole;
  broken.run.directory = folder / "broken";
  ASSERT_EQ(run(whole).exit, Exit::done);
  ASSERT_EQ(run(broken, ResumePolicy::refuse, 7).exit, Exit::done);
  const std::string weights = checkpoint_of(broken, 7) + "/model.safetensors";
  std::string bytes = read_file(weights);
  bytes[bytes.size() / 2] ^= 1;
  write_file(weights, bytes);
  ASSERT_EQ(run(broken, ResumePolicy::automatic).exit, Exit::done);
  expect_same_end(whole, broken, whole.schedule.steps);
}

TEST(Resume, WithoutAUsableCheckpointNothingIsStartedOver) {
  Folder folder;
  write_corpus(folder / "data", 2000, 61);
  const Config config = tiny_config(folder);
  ASSERT_EQ(run(config, ResumePolicy::refuse, 2).exit, Exit::done);
  write_file(checkpoint_of(config, 2) + "/manifest.json", "{}");
  EXPECT_EQ(run(config, ResumePolicy::automatic).exit, Exit::no_checkpoint);
}

TEST(Resume, AFolderThatHoldsARunIsLeftAloneWithoutResume) {
  Folder folder;
  write_corpus(folder / "data", 2000, 61);
  const Config config = tiny_config(folder);
  ASSERT_EQ(run(config, ResumePolicy::refuse, 2).exit, Exit::done);
  const std::string metrics = read_file(config.run.directory + "/metrics.jsonl");
  for (ResumePolicy policy : {ResumePolicy::refuse, ResumePolicy::never}) {
    const RunResult again = run(config, policy);
    EXPECT_EQ(again.exit, Exit::usage);
    EXPECT_EQ(again.error, config.run.directory + ": already holds a run, and nothing of it is overwritten");
    EXPECT_EQ(again.hint, "to go on with it: nll train CONFIG --resume auto; for a new one: --set run.directory=NEW");
  }
  EXPECT_EQ(read_file(config.run.directory + "/metrics.jsonl"), metrics);
}

TEST(Resume, AnotherModelOptimizerOrDataIsRefusedByName) {
  Folder folder;
  write_corpus(folder / "data", 2000, 61);
  const Config config = tiny_config(folder);
  ASSERT_EQ(run(config, ResumePolicy::refuse, 2).exit, Exit::done);
  Config other = config;
  other.optimizer.beta2 = 0.99;
  EXPECT_NE(run(other, ResumePolicy::automatic).error.find("optimizer.beta2: 0.95 -> 0.99"), std::string::npos);
  other = config;
  other.schedule.steps = 20;
  EXPECT_NE(run(other, ResumePolicy::automatic).error.find("schedule.steps: 12 -> 20"), std::string::npos);
  write_corpus(folder / "more", 3000, 61);
  other = config;
  other.data.train = {folder / "more"};
  EXPECT_EQ(run(other, ResumePolicy::automatic).exit, Exit::bad_data);
  other.data.allow_change = true;
  EXPECT_EQ(run(other, ResumePolicy::automatic, 1).exit, Exit::done);
}

TEST(Resume, ACheckpointNamedByItsPathStartsANewFolder) {
  Folder folder;
  write_corpus(folder / "data", 2000, 61);
  Config whole = tiny_config(folder), fork = whole;
  fork.run.directory = folder / "fork";
  ASSERT_EQ(run(whole).exit, Exit::done);
  ASSERT_EQ(run(fork, ResumePolicy::path, 0, -1, checkpoint_of(whole, 6)).exit, Exit::done);
  EXPECT_EQ(read_file(checkpoint_of(whole, 12) + "/model.safetensors"),
            read_file(checkpoint_of(fork, 12) + "/model.safetensors"));
  const RunResult back = run(whole, ResumePolicy::path, 0, -1, checkpoint_of(whole, 6));
  EXPECT_EQ(back.exit, Exit::usage);
  EXPECT_NE(back.error.find("later than"), std::string::npos);
}

}  // namespace nll::test
