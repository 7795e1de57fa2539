// Several ranks train what one rank trains.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "src/train/plan.h"
#include "src/train/scaling.h"
#include "tests/train/ranks_rig.h"

namespace nll::test {

namespace {

std::vector<double> values(const Config& config, const std::string& event, const std::string& name) {
  std::vector<double> list;
  for (const Event& e : read_metrics(config.run.directory + "/metrics.jsonl")) {
    if (e.event == event) list.push_back(e.number(name));
  }
  return list;
}

std::string weights(const Config& config, std::int64_t step) {
  return read_file(checkpoint_of(config, step) + "/model.safetensors");
}

// 120 sequences a step, so that 1, 2, 3, 4 and 5 ranks take equal parts; no dropout, so that nothing else is random.
Config divisible_config(const Folder& folder) {
  Config config = tiny_config(folder);
  config.batch.tokens_per_step = 120 * config.model.context;
  config.batch.sequences = 2;
  config.schedule.steps = 6;
  config.optimizer.clip_norm = 0.05;  // below every norm of these steps
  return config;
}

Config in(Config config, const std::string& directory) {
  config.run.directory = directory;
  return config;
}

}  // namespace

TEST(Ranks, TrainToTheLossCurveOfOneRank) {
  Folder folder;
  write_corpus(folder / "data", 2000, 61);
  const Config one = divisible_config(folder);
  ASSERT_EQ(run(one).exit, Exit::done);
  for (int ranks : {2, 3, 4, 5}) {
    const Config many = in(one, folder / ("ranks" + std::to_string(ranks)));
    ASSERT_EQ(exit_of(run_ranks(many, ranks)), Exit::done);
    for (const auto& [event, name] :
         {std::pair{"train", "loss"}, {"train", "accuracy"}, {"validation", "loss"}, {"validation", "ece"}}) {
      const std::vector<double> expected = values(one, event, name), found = values(many, event, name);
      ASSERT_EQ(found.size(), expected.size());
      for (std::size_t i = 0; i < expected.size(); ++i)
        EXPECT_NEAR(found[i], expected[i], 1e-6 * std::abs(expected[i]))
            << event << " " << name << " " << i << ", " << ranks << " ranks";
    }
  }
}

TEST(Ranks, RepeatBitForBit) {
  Folder folder;
  write_corpus(folder / "data", 2000, 61);
  const Config first = divisible_config(folder), again = in(first, folder / "again");
  ASSERT_EQ(exit_of(run_ranks(first, 3)), Exit::done);
  ASSERT_EQ(exit_of(run_ranks(again, 3)), Exit::done);
  EXPECT_EQ(story(first), story(again));
  EXPECT_TRUE(weights(first, 6) == weights(again, 6));
}

TEST(Ranks, InATreeOneTwoFourAndEightGiveTheSameBits) {
  Folder folder;
  write_corpus(folder / "data", 2000, 61);
  Config one = tiny_config(folder);
  one.batch.sequences = 1;
  one.dist.reduce = "tree";
  ASSERT_EQ(run(one).exit, Exit::done);
  for (int ranks : {2, 4, 8}) {
    const Config many = in(one, folder / ("ranks" + std::to_string(ranks)));
    ASSERT_EQ(exit_of(run_ranks(many, ranks)), Exit::done);
    EXPECT_TRUE(weights(many, 12) == weights(one, 12)) << ranks << " ranks";
  }
}

TEST(Ranks, ATreeOverAnyNumberOfMicroBatchesIsTheGradientOfAllOfThem) {
  Folder folder;
  write_corpus(folder / "data", 2000, 61);
  Config plain = tiny_config(folder);
  plain.batch.tokens_per_step = 7 * plain.model.context;
  plain.batch.sequences = 1;
  Config tree = in(plain, folder / "tree");
  tree.dist.reduce = "tree";
  ASSERT_EQ(run(plain).exit, Exit::done);
  ASSERT_EQ(run(tree).exit, Exit::done);
  const std::vector<double> expected = values(plain, "train", "gradient_norm"),
                            found = values(tree, "train", "gradient_norm");
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-5 * expected[i]) << i;
}

TEST(Ranks, MomentsShardedOrOnEveryRankGiveTheSameBits) {
  Folder folder;
  write_corpus(folder / "data", 2000, 61);
  for (int ranks : {2, 3, 4, 5}) {
    Config sharded = in(divisible_config(folder), folder / ("sharded" + std::to_string(ranks)));
    sharded.dist.bucket_bytes = 1;  // a bucket a layer
    Config whole = in(sharded, folder / ("whole" + std::to_string(ranks)));
    whole.dist.shard_optimizer = false;
    ASSERT_EQ(exit_of(run_ranks(sharded, ranks)), Exit::done);
    ASSERT_EQ(exit_of(run_ranks(whole, ranks)), Exit::done);
    EXPECT_EQ(story(sharded), story(whole)) << ranks << " ranks";
    EXPECT_TRUE(weights(sharded, 6) == weights(whole, 6)) << ranks << " ranks";
  }
}

TEST(Ranks, BitsDoNotDependOnTheSizeOfBuckets) {
  Folder folder;
  write_corpus(folder / "data", 2000, 61);
  Config small = divisible_config(folder), large = in(small, folder / "large");
  small.dist.bucket_bytes = 1;
  ASSERT_EQ(exit_of(run_ranks(small, 2)), Exit::done);
  ASSERT_EQ(exit_of(run_ranks(large, 2)), Exit::done);
  EXPECT_EQ(story(small), story(large));
  EXPECT_TRUE(weights(small, 6) == weights(large, 6));
}

TEST(Ranks, ResumeOnAnyNumberOfThemKeepsTheDataOrderAndTheLossCurve) {
  Folder folder;
  write_corpus(folder / "data", 2000, 61);
  Config whole = divisible_config(folder);
  whole.schedule.steps = 8;
  const Config parts = in(whole, folder / "parts");
  ASSERT_EQ(run(whole).exit, Exit::done);
  RanksRequest two_steps{.resume = ResumePolicy::automatic, .step_limit = 2};
  ASSERT_EQ(exit_of(run_ranks(parts, 4, two_steps)), Exit::done);
  ASSERT_EQ(exit_of(run_ranks(parts, 2, two_steps)), Exit::done);
  ASSERT_EQ(run(parts, ResumePolicy::automatic, 2).exit, Exit::done);
  ASSERT_EQ(exit_of(run_ranks(parts, 3, two_steps)), Exit::done);
  const std::vector<double> expected = values(whole, "train", "loss"), found = values(parts, "train", "loss");
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(found[i], expected[i], 1e-6 * expected[i]) << "step " << i;
}

TEST(Ranks, InterruptedAndResumedOnAsManyEqualsNeverInterrupted) {
  Folder folder;
  write_corpus(folder / "data", 2000, 61);
  const Config whole = tiny_config(folder), parts = in(whole, folder / "parts");
  ASSERT_EQ(exit_of(run_ranks(whole, 2)), Exit::done);
  for (std::int64_t stop_after : {1, 3, 4}) {
    ASSERT_EQ(
        exit_of(run_ranks(parts, 2, {.resume = ResumePolicy::automatic, .stopping = 1, .stop_after = stop_after})),
        Exit::stopped);
  }
  ASSERT_EQ(exit_of(run_ranks(parts, 2, {.resume = ResumePolicy::automatic})), Exit::done);
  EXPECT_EQ(story(whole), story(parts));
  EXPECT_TRUE(weights(whole, 12) == weights(parts, 12));
}

TEST(Ranks, AStopAskedOfOneRankSavesOnAllAtTheSameStep) {
  Folder folder;
  write_corpus(folder / "data", 2000, 61);
  const Config config = tiny_config(folder);
  // Two ranks, one micro-batch each: the fourth question is asked before the fourth step.
  ASSERT_EQ(exit_of(run_ranks(config, 2, {.stopping = 1, .stop_after = 3})), Exit::stopped);
  EXPECT_TRUE(std::filesystem::exists(checkpoint_of(config, 3) + "/manifest.json"));
  EXPECT_FALSE(std::filesystem::exists(checkpoint_of(config, 4)));
}

TEST(Ranks, ABf16WireTrainsCloseToAnFp32One) {
  Folder folder;
  write_corpus(folder / "data", 2000, 61);
  const Config exact = divisible_config(folder);
  Config rounded = in(exact, folder / "rounded");
  rounded.dist.wire = "bf16";
  ASSERT_EQ(exit_of(run_ranks(exact, 2)), Exit::done);
  ASSERT_EQ(exit_of(run_ranks(rounded, 2)), Exit::done);
  const std::vector<double> expected = values(exact, "train", "loss"), found = values(rounded, "train", "loss");
  // A gradient is off by 2^-9 of itself; the loss of the first step does not know of it.
  EXPECT_EQ(found[0], expected[0]);
  EXPECT_NE(found.back(), expected.back());
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-3 * expected[i]);
}

// A bucket's parts differ by a block at most; what is left are sums of squares, guards and sums of losses.
TEST(Ranks, SendWhatThePlanSays) {
  Folder folder;
  write_corpus(folder / "data", 2000, 61);
  Config config = divisible_config(folder);
  config.model.width = 128;
  config.schedule.warmup_steps = 1;
  config.schedule.steps = 2;
  for (int ranks : {2, 3}) {
    config.run.directory = folder / ("ranks" + std::to_string(ranks));
    ASSERT_EQ(exit_of(run_ranks(config, ranks)), Exit::done);
    const TrainPlan plan = make_plan(config, ranks, 0);
    ScalingRequest request;
    request.ranks = ranks;
    for (const GradientBucket& of : plan.buckets) request.buckets.push_back(of.bucket.size());
    const Volume step = volume(request, {});
    const double sent = values(config, "end", "bytes_sent").at(0), expected = 2 * (step.gradients + step.weights);
    const double blocks = static_cast<double>(plan.buckets.size()) * Ops::norm_block * 4 * ranks;
    EXPECT_NEAR(sent, expected, 0.005 * expected + 2 * blocks) << ranks << " ranks";
  }
}

TEST(Ranks, ABatchThatCannotBeCutEvenlyIsRefusedOnAllOfThem) {
  Folder folder;
  write_corpus(folder / "data", 2000, 61);
  const Config config = tiny_config(folder);
  for (const RunResult& result : run_ranks(config, 3)) {
    EXPECT_EQ(result.exit, Exit::usage);
    EXPECT_NE(result.error.find("batch.tokens_per_step: 128"), std::string::npos) << result.error;
  }
  EXPECT_FALSE(std::filesystem::exists(config.run.directory));
}

}  // namespace nll::test
