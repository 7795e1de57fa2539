// Whole runs of objectives through the CUDA backend, beside the same runs on the CPU: a GPU where the build has CUDA,
// else the host run of the kernels. Only rows with a target go through the head there, outside of recordings, and a
// scalar head learns.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/train/objective_rig.h"

namespace nll::test {
namespace {

constexpr std::int64_t steps = 3;  // done, recorded, replayed

class CudaObjectives : public testing::TestWithParam<std::string> {
 protected:
  Config config_of(const std::string& device, const std::string& precision, const std::string& name) const {
    Config config = objective_config(folder_, GetParam());
    config.run.directory = folder_ / name;
    config.device = device;
    config.precision.compute = precision;
    config.schedule.steps = steps;
    config.records.per_step = 4;
    config.batch.sequences = 4;  // two micro-batches of pairs
    config.rollout.prompts = 2;
    config.rollout.mini_batches = 1;
    config.evaluation.records = 2;
    config.evaluation.every_steps = 0;
    config.cuda.product_cache = "";
    config.cuda.tune_products = false;
    return config;
  }
  static void train(const Config& config) {
    const RunResult result = run(config);
    EXPECT_EQ(result.exit, Exit::done) << result.error;
  }
  static std::vector<double> losses(const Config& config) {
    std::vector<double> all = numbers(config, "train", "loss");
    const char* held_out = config.objective.of_rollouts() ? "reward" : "loss";
    for (const double value : numbers(config, "validation", held_out)) all.push_back(value);
    return all;
  }
  Folder folder_;
};

// FP32 differs by the order of sums: a few roundings of 2^-24 of log-probabilities that add up to some 100 nats, times
// beta.
TEST_P(CudaObjectives, InFp32FollowTheCpusLosses) {
  const Config cuda = config_of("cuda", "fp32", "cuda"), cpu = config_of("cpu", "fp32", "cpu");
  train(cuda);
  train(cpu);
  const std::vector<double> found = losses(cuda), expected = losses(cpu);
  ASSERT_EQ(found.size(), expected.size());
  ASSERT_GE(found.size(), static_cast<std::size_t>(steps));
  for (std::size_t i = 0; i < found.size(); ++i)
    EXPECT_NEAR(found[i], expected[i], 2e-5 * std::max(1.0, std::abs(expected[i]))) << "loss " << i;
}

TEST_P(CudaObjectives, AreTheSameBitsRecordedOrNot) {
  Config recorded = config_of("cuda", "bf16", "recorded"), plain = config_of("cuda", "bf16", "plain");
  plain.cuda.graphs = false;
  train(recorded);
  train(plain);
  EXPECT_TRUE(read_file(checkpoint_of(recorded, steps) + "/model.safetensors") ==
              read_file(checkpoint_of(plain, steps) + "/model.safetensors"));
  EXPECT_EQ(losses(recorded), losses(plain));
  for (const double loss : losses(recorded)) EXPECT_TRUE(std::isfinite(loss));
}

INSTANTIATE_TEST_SUITE_P(Kinds, CudaObjectives, testing::Values("dpo", "kto", "reward", "grpo"),
                         [](const auto& of) { return of.param; });

}  // namespace
}  // namespace nll::test
