// Whole runs of several ranks, threads of the test, whose tensors pass through the host's memory: beside the same run
// on one rank. A GPU that the ranks share where the build has CUDA, else the host run of the kernels, which does one
// call at a time whichever thread makes it.
#include "tests/train/ranks_rig.h"

#include <gtest/gtest.h>

#include <filesystem>

namespace nll::test {
namespace {

// Done, recorded, replayed.
constexpr std::int64_t steps = 3;

std::vector<double> losses_of(const Config& config) {
  std::vector<double> losses;
  for (const Event& event : read_metrics(config.run.directory + "/metrics.jsonl")) {
    if (event.event == "train" || event.event == "validation") losses.push_back(event.number("loss"));
  }
  return losses;
}

Config in(Config config, const std::string& directory) {
  config.run.directory = directory;
  return config;
}

class CudaRanks : public testing::Test {
 protected:
  void SetUp() override { write_corpus(folder / "data", 4000, 61); }

  // Four sequences a step, two on each of two ranks. A bucket a layer, so that weights and gradients travel in parts.
  Config config_of(const std::string& precision, const std::string& name) const {
    Config config = tiny_config(folder);
    config.run.directory = folder / name;
    config.device = "cuda";
    config.precision.compute = precision;
    config.model.heads = 1;
    config.model.width = precision == "fp32" ? 32 : 64;  // BF16: a head of 64 for the flash kernels
    config.batch.sequences = 1;
    config.batch.tokens_per_step = 4 * config.model.context;
    config.schedule.steps = steps;
    config.evaluation.every_steps = 0;
    config.evaluation.tokens = 64;
    config.checkpoint.every_steps = 0;
    config.sample.every_steps = 0;
    config.optimizer.clip_norm = 0.05;  // below every norm of these steps
    config.cuda.product_cache = "";
    config.cuda.tune_products = false;
    config.dist.transport = "host";
    config.dist.share_gpu = true;
    config.dist.bucket_bytes = 1;
    return config;
  }
  void train(const Config& config, int ranks, const RanksRequest& request = {}) {
    ASSERT_EQ(exit_of(run_ranks(config, ranks, request)), Exit::done);
  }
  void expect_near_curve(const Config& found, const Config& expected, double relative) {
    const std::vector<double> a = losses_of(found), b = losses_of(expected);
    ASSERT_EQ(a.size(), steps + 1u);
    ASSERT_EQ(b.size(), a.size());
    for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], relative * b[i]) << "event " << i;
  }
  // Where moments lie in files is another for another number of ranks, and so is the order in which scores are added.
  void expect_equal_weights(const Config& a, const Config& b) {
    const std::string file = "/model.safetensors", weights = read_file(checkpoint_of(a, steps) + file);
    EXPECT_FALSE(weights.empty());
    EXPECT_TRUE(weights == read_file(checkpoint_of(b, steps) + file));
  }
  void expect_equal_runs(const Config& a, const Config& b) {
    EXPECT_EQ(story(a), story(b));
    int files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(checkpoint_of(a, steps))) {
      if (entry.path().extension() != ".safetensors") continue;
      files += 1;
      const std::string name = "/" + entry.path().filename().string();
      EXPECT_TRUE(read_file(entry.path()) == read_file(checkpoint_of(b, steps) + name)) << name;
    }
    EXPECT_EQ(files, 3) << "weights, and the moments of each rank";
  }
  Folder folder;
};

// Ranks change the order in which the gradients of four sequences are added, nothing else: the bounds of training_test,
// where micro-batches do the same.
TEST_F(CudaRanks, InFp32TwoTrainToTheLossCurveOfOne) {
  const Config one = config_of("fp32", "one"), recorded = config_of("fp32", "recorded");
  Config plain = config_of("fp32", "plain");
  plain.cuda.graphs = false;
  train(one, 1);
  train(recorded, 2);
  train(plain, 2);
  expect_near_curve(recorded, one, 2e-6);
  expect_equal_runs(recorded, plain);
}

// In BF16 weights travel in FP32 and are rounded where they arrive. Nothing of a run depends on when the host looks, on
// which rank is first, on whether steps are recorded, on where the run was cut, or on who keeps the moments.
TEST_F(CudaRanks, InBf16TwoTrainToTheLossCurveOfOneAndRepeatAndResumeBitForBit) {
  const Config one = config_of("bf16", "one"), recorded = config_of("bf16", "recorded"), cut = config_of("bf16", "cut");
  Config plain = config_of("bf16", "plain"), whole = config_of("bf16", "whole");
  plain.cuda.graphs = false;
  whole.dist.shard_optimizer = false;
  train(one, 1);
  train(recorded, 2);
  expect_near_curve(recorded, one, 0x1p-9);
  train(plain, 2);
  expect_equal_runs(recorded, plain);
  train(cut, 2, {.step_limit = 2});
  train(cut, 2, {.resume = ResumePolicy::automatic});
  expect_equal_runs(recorded, cut);
  train(whole, 2);
  EXPECT_EQ(story(recorded), story(whole));
  expect_equal_weights(recorded, whole);
}

// In a tree over micro-batches the number of ranks leaves no trace.
TEST_F(CudaRanks, InATreeOneAndTwoGiveTheSameBits) {
  Config one = config_of("fp32", "one");
  one.dist.reduce = "tree";
  const Config two = in(one, folder / "two");
  train(one, 1);
  train(two, 2);
  expect_equal_weights(one, two);
}

// The library is not part of this build, or there is no GPU of its own for each rank: one line on all of them.
TEST_F(CudaRanks, WithoutAWayBetweenGpusAllLeaveWithOneLine) {
  Config config = config_of("fp32", "refused");
  config.dist.transport = "auto";
  const std::vector<RunResult> results = run_ranks(config, 2);
  if (results.front().exit == Exit::done) GTEST_SKIP() << "there is a GPU for each rank";
  for (const RunResult& result : results) {
    EXPECT_EQ(result.exit, Exit::usage) << result.error;
    EXPECT_EQ(result.error.find('\n'), std::string::npos) << result.error;
    EXPECT_NE(result.hint.find("dist.transport=host"), std::string::npos) << result.hint;
  }
}

}  // namespace
}  // namespace nll::test
