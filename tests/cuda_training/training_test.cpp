// Whole training runs through the CUDA backend, beside the same runs on the CPU: a GPU where the build has CUDA, else
// the host run of the kernels.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "kernels/ops.h"
#include "tests/train/rig.h"

namespace nll::test {
namespace {

struct Curve {
  std::vector<double> losses, norms;
};

Curve curve_of(const Config& config) {
  Curve curve;
  for (const Event& event : read_metrics(config.run.directory + "/metrics.jsonl")) {
    if (event.event != "train") continue;
    const nlohmann::json values = nlohmann::json::parse(to_json(event));
    const auto number = [&](const char* key) {
      return values[key].is_number() ? values[key].get<double>() : std::numeric_limits<double>::quiet_NaN();
    };
    curve.losses.push_back(number("loss"));
    curve.norms.push_back(number("gradient_norm"));
  }
  return curve;
}

double fact(const Config& config, const char* event_name, const char* key) {
  for (const Event& event : read_metrics(config.run.directory + "/metrics.jsonl")) {
    if (event.event == event_name) return nlohmann::json::parse(to_json(event))[key].get<double>();
  }
  return std::numeric_limits<double>::quiet_NaN();
}

// Head dimension 64, so that BF16 and FP16 go through the flash kernels.
Config cuda_config(const Folder& folder, const std::string& precision, const std::string& name) {
  Config config = tiny_config(folder);
  config.run.directory = folder / name;
  config.device = "cuda";
  config.precision.compute = precision;
  config.model.width = 128;
  config.schedule.steps = 6;
  config.cuda.product_cache = "";
  config.cuda.tune_products = false;
  return config;
}

Config on_cpu(Config config, const std::string& directory) {
  config.run.directory = directory;
  config.device = "cpu";
  config.precision = {};
  config.optimizer.moments = "fp32";
  return config;
}

class CudaTraining : public testing::Test {
 protected:
  void SetUp() override { write_corpus(folder / "data", 4000, 61); }
  Curve trained(const Config& config, ResumePolicy resume = ResumePolicy::refuse, std::int64_t steps = 0) {
    const RunResult result = run(config, resume, steps);
    EXPECT_EQ(result.exit, Exit::done) << result.error;
    return curve_of(config);
  }
  void expect_equal_weights(const Config& a, const Config& b, std::int64_t step) {
    for (const char* file : {"/model.safetensors", "/optimizer.safetensors"}) {
      EXPECT_TRUE(read_file(checkpoint_of(a, step) + file) == read_file(checkpoint_of(b, step) + file)) << file;
    }
  }
  Folder folder;
};

// FP32 differs by the order of sums only: a few roundings of 2^-24 a step, which AdamW's division by sqrt(v) spreads.
TEST_F(CudaTraining, InFp32FollowsTheCpusLossCurve) {
  const Config config = cuda_config(folder, "fp32", "cuda");
  const Curve cuda = trained(config), cpu = trained(on_cpu(config, folder / "cpu"));
  ASSERT_EQ(cuda.losses.size(), 6u);
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_NEAR(cuda.losses[i], cpu.losses[i], 2e-6 * cpu.losses[i]) << "step " << i;
    EXPECT_NEAR(cuda.norms[i], cpu.norms[i], 2e-5 * cpu.norms[i]) << "step " << i;
  }
  EXPECT_NEAR(fact(config, "validation", "loss"), fact(on_cpu(config, folder / "cpu"), "validation", "loss"), 1e-5);
}

// A product of rounded factors is off by 2^-9 relative a factor; over a sum of C terms with random signs the losses of
// this model agree to about that divided by sqrt(tokens) of the batch.
TEST_F(CudaTraining, InBf16AndFp16StaysWithinRoundingOfTheCpusLossCurve) {
  const Curve cpu = trained(on_cpu(cuda_config(folder, "fp32", "-"), folder / "cpu"));
  for (const auto& [precision, unit] : {std::pair{"bf16", 0x1p-9}, std::pair{"fp16", 0x1p-12}}) {
    for (const char* residual : {"auto", "fp32"}) {
      Config config = cuda_config(folder, precision, std::string(precision) + residual);
      config.precision.residual = residual;
      const Curve cuda = trained(config);
      ASSERT_EQ(cuda.losses.size(), 6u);
      for (std::size_t i = 0; i < 6; ++i) {
        EXPECT_NEAR(cuda.losses[i], cpu.losses[i], unit * cpu.losses[i]) << precision << " step " << i;
        EXPECT_NEAR(cuda.norms[i], cpu.norms[i], 8 * unit * cpu.norms[i]) << precision << " step " << i;
      }
    }
  }
}

// Noise: what another seed (weights, order of data, dropout) changes in FP32 on the CPU.
TEST_F(CudaTraining, TwoHundredStepsInBf16EndWithinTheNoiseOfFp32) {
  Config config = cuda_config(folder, "bf16", "bf16");
  config.model = {.layers = 1, .heads = 1, .width = 64, .context = 16, .vocabulary = 61, .dropout = 0.0};
  config.batch.tokens_per_step = 64;
  config.schedule.steps = 200;
  config.schedule.warmup_steps = 20;
  config.checkpoint.every_steps = 0;
  config.evaluation.every_steps = 0;
  const auto last_mean = [](const Curve& curve) {
    EXPECT_EQ(curve.losses.size(), 200u);
    return std::accumulate(curve.losses.end() - 40, curve.losses.end(), 0.0) / 40;
  };
  std::vector<double> fp32;
  for (const std::int64_t seed : {1337, 1, 2, 3}) {
    Config cpu = on_cpu(config, folder / fmt::format("cpu{}", seed));
    cpu.run.seed = seed;
    fp32.push_back(last_mean(trained(cpu)));
  }
  const auto [least, most] = std::minmax_element(fp32.begin(), fp32.end());
  const double noise = *most - *least, bf16 = last_mean(trained(config));
  EXPECT_LT(bf16, 2.5);  // log 61 = 4.1
  EXPECT_LE(std::abs(bf16 - fp32.front()), noise / 2) << "FP32 " << fp32.front() << ", over seeds " << noise;
}

TEST_F(CudaTraining, TwoRunsAreEqualBitForBitWithAndWithoutGraphs) {
  const Config first = cuda_config(folder, "bf16", "first");
  Config second = cuda_config(folder, "bf16", "second"), eager = cuda_config(folder, "bf16", "eager");
  eager.cuda.graphs = false;
  trained(first);
  trained(second);
  trained(eager);
  EXPECT_EQ(story(first), story(second));
  EXPECT_EQ(story(first), story(eager));
  expect_equal_weights(first, second, 6);
  expect_equal_weights(first, eager, 6);
}

TEST_F(CudaTraining, ResumedEqualsNeverInterruptedBitForBit) {
  for (const char* precision : {"bf16", "fp16"}) {
    Config whole = cuda_config(folder, precision, std::string(precision) + " whole"),
           cut = cuda_config(folder, precision, std::string(precision) + " cut");
    whole.precision.loss_scale_interval = cut.precision.loss_scale_interval = 2;
    trained(whole);
    trained(cut, ResumePolicy::refuse, 2);
    trained(cut, ResumePolicy::automatic);
    EXPECT_EQ(story(whole), story(cut));
    expect_equal_weights(whole, cut, 6);
    EXPECT_EQ(read_file(checkpoint_of(whole, 6) + "/state.json").find("\"loss_scale\": 1.0") == std::string::npos,
              precision == std::string("fp16"));
  }
}

TEST_F(CudaTraining, MovesBetweenCpuAndCuda) {
  Config config = cuda_config(folder, "auto", "run");
  const auto on = [&](const char* device) {
    Config part = config;
    part.device = device;
    return part;
  };
  trained(on("cpu"), ResumePolicy::refuse, 2);
  trained(on("cuda"), ResumePolicy::automatic, 2);
  const Curve moved = trained(on("cpu"), ResumePolicy::automatic);
  const Curve cpu = trained(on_cpu(config, folder / "cpu"));
  ASSERT_EQ(moved.losses.size(), 6u);
  for (std::size_t i = 0; i < 6; ++i) EXPECT_NEAR(moved.losses[i], cpu.losses[i], 0x1p-9 * cpu.losses[i]) << i;
}

// The order of sums over micro-batches is another; the loss and the masks of dropout are not.
TEST_F(CudaTraining, CutsTheBatchIntoAnyMicroBatches) {
  Config whole = cuda_config(folder, "fp32", "whole"), cut = cuda_config(folder, "fp32", "cut");
  whole.batch.sequences = 8;
  cut.batch.sequences = 2;
  const Curve a = trained(whole), b = trained(cut);
  for (std::size_t i = 0; i < 6; ++i) EXPECT_NEAR(a.losses[i], b.losses[i], 2e-6 * a.losses[i]) << i;
}

TEST_F(CudaTraining, Bf16MomentsAndLogitsStayNearFp32Ones) {
  Config plain = cuda_config(folder, "bf16", "plain"), small = cuda_config(folder, "bf16", "small");
  small.optimizer.moments = "bf16";
  small.head.logits = "bfloat16";
  const Curve a = trained(plain), b = trained(small);
  for (std::size_t i = 0; i < 6; ++i) EXPECT_NEAR(a.losses[i], b.losses[i], 2 * 0x1p-8 * a.losses[i]) << i;
  EXPECT_NE(a.losses.back(), b.losses.back());
}

// The head works in slices of a chunk; where they are cut changes the order of sums only.
TEST_F(CudaTraining, HeadChunksChangeNothingButRounding) {
  Config whole = cuda_config(folder, "bf16", "whole"), cut = cuda_config(folder, "bf16", "cut");
  cut.head.chunk_tokens = 24;
  cut.head.logits_tokens = 7;
  const Curve a = trained(whole), b = trained(cut);
  EXPECT_EQ(a.losses.front(), b.losses.front());
  for (std::size_t i = 0; i < 6; ++i) EXPECT_NEAR(a.losses[i], b.losses[i], 0x1p-9 * a.losses[i]) << i;
}

// A loss scale of 2^16 times a gradient of this size overflows FP16: such steps are skipped on the device, halve the
// scale and do not count as updates.
TEST_F(CudaTraining, AnOverflowInFp16SkipsTheUpdateAndHalvesTheLossScale) {
  Config config = cuda_config(folder, "fp16", "run");
  config.log.nonfinite_limit = 40;
  config.optimizer.clip_norm = 0;
  config.optimizer.learning_rate = 50;  // weights explode: so do the gradients
  config.schedule.warmup_steps = 0;
  config.schedule.steps = 12;
  config.evaluation.every_steps = 0;
  const RunResult result = run(config);
  const nlohmann::json state = nlohmann::json::parse(read_file(checkpoint_of(config, 12) + "/state.json"));
  EXPECT_EQ(result.exit, Exit::done) << result.error;
  EXPECT_GT(state["skipped"].get<int>(), 0);
  EXPECT_EQ(state["updates"].get<int>() + state["skipped"].get<int>(), 12);
  EXPECT_LT(state["loss_scale"].get<double>(), 65536);
}

// The GPU is a step ahead when the host learns that the run has diverged.
TEST_F(CudaTraining, ARunThatDivergesSavesAStateThatFitsItsWeights) {
  Config config = cuda_config(folder, "fp32", "run");
  config.log.nonfinite_limit = 2;
  config.optimizer.learning_rate = 1e30;  // the weights overflow after a step or two
  config.schedule.warmup_steps = 0;
  config.schedule.steps = 12;
  config.evaluation.every_steps = config.checkpoint.every_steps = 0;
  const RunResult result = run(config);
  ASSERT_EQ(result.exit, Exit::diverged) << result.error;
  const std::vector<double> losses = curve_of(config).losses;
  const auto steps = static_cast<std::int64_t>(losses.size());
  const nlohmann::json state = nlohmann::json::parse(read_file(checkpoint_of(config, steps) + "/state.json"));
  EXPECT_EQ(state["step"].get<std::int64_t>(), steps);
  EXPECT_EQ(state["updates"].get<std::int64_t>() + state["skipped"].get<std::int64_t>(), steps);
  EXPECT_GE(state["skipped"].get<std::int64_t>(), 2);
}

TEST_F(CudaTraining, AStopRequestSavesTheLastWholeStep) {
  const Config config = cuda_config(folder, "bf16", "run");
  const RunResult stopped = run(config, ResumePolicy::refuse, 0, 5);  // in the third step: it has two micro-batches
  EXPECT_EQ(stopped.exit, Exit::stopped) << stopped.error;
  EXPECT_TRUE(std::filesystem::exists(checkpoint_of(config, 2) + "/manifest.json"));
  trained(config, ResumePolicy::automatic);
  const Config whole = cuda_config(folder, "bf16", "whole");
  trained(whole);
  EXPECT_EQ(story(config), story(whole));
}

}  // namespace
}  // namespace nll::test
