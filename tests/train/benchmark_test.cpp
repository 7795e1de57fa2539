#include "src/train/benchmark.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <sstream>

#include "kernels/machine.h"

namespace nll::test {

namespace {

Config small_config() {
  Config config;
  config.model = {.layers = 2, .heads = 2, .width = 32, .context = 16, .vocabulary = 61};
  config.batch.sequences = 2;
  config.batch.tokens_per_step = 96;
  config.cpu.threads = 1;
  return config;
}

Backend one_thread() {
  BackendOptions options;
  options.threads = 1;
  return make_backend("cpu", options);
}

bool never() { return false; }

}  // namespace

TEST(Benchmark, TimesEveryOpOfAStepAndSaysWhatItDoes) {
  Backend backend = one_thread();
  Benchmark benchmark(small_config(), backend);
  const std::vector<OpTiming> ops = benchmark.ops("", never);
  std::set<Stage> stages;
  std::set<std::string> families;
  double flops = 0;
  for (const OpTiming& op : ops) {
    EXPECT_GT(op.seconds, 0) << op.name;
    EXPECT_GT(op.bytes, 0) << op.name;
    EXPECT_GT(op.per_step, 0) << op.name;
    stages.insert(op.stage);
    families.insert(op.name.substr(0, op.name.find(' ')));
    if (op.stage != Stage::update) flops += op.flops * op.per_step;
  }
  EXPECT_EQ(stages.size(), std::size_t{stage_count - 2});  // all but what lies between ops and what is kept
  std::stringstream names(benchmark.op_names());
  for (std::string name; std::getline(names >> std::ws, name, ',');) EXPECT_EQ(families.count(name), 1u) << name;
  // Products and attention of 3 micro-batches of 32 tokens: 6 for each weight that is multiplied, 7 T C L for
  // attention.
  const double weights = 2 * 12.0 * 32 * 32 + static_cast<double>(padded_vocabulary(61)) * 32;
  EXPECT_NEAR(flops, 96 * (6 * weights + 7.0 * 16 * 32 * 2), 1e-6 * flops);
}

TEST(Benchmark, TimesWhatIsComputedAgainOnceForAllLayersButTheLast) {
  Backend backend = one_thread();
  for (const char* recompute : {"gelu", "norm", "block"}) {
    Config config = small_config();
    config.batch.recompute = recompute;
    double calls = 0, flops = 0;
    for (const OpTiming& op : Benchmark(config, backend).ops("recompute", never)) {
      EXPECT_EQ(op.stage, Stage::recomputation);
      EXPECT_GT(op.seconds, 0);
      calls += op.per_step;
      flops += op.flops * op.per_step;
    }
    const bool block = std::string(recompute) == "block";
    EXPECT_EQ(calls, recompute == std::string("norm") ? 9 : 3);  // 3 micro-batches, one of two layers
    EXPECT_EQ(flops, block ? 96 * (16.0 * 32 * 32 + 2.0 * 16 * 32) : 0);
  }
}

TEST(Benchmark, TimesTheOpThatIsNamedAndStopsWhenAsked) {
  Backend backend = one_thread();
  Benchmark benchmark(small_config(), backend);
  const std::vector<OpTiming> attention = benchmark.ops("attention", never);
  ASSERT_EQ(attention.size(), 1u);
  EXPECT_EQ(attention[0].name, "attention");
  EXPECT_EQ(benchmark.ops("linear", never).size(), 3u);
  EXPECT_TRUE(benchmark.ops("matmul", never).empty());
  EXPECT_TRUE(benchmark.ops("", [] { return true; }).empty());
  EXPECT_EQ(benchmark.steps(2, [] { return true; }).seconds, 0);
}

TEST(Benchmark, WholeStepsTrain) {
  Backend backend = one_thread();
  Benchmark benchmark(small_config(), backend);
  EXPECT_EQ(benchmark.plan().micro_batches, 3);
  const StepTiming step = benchmark.steps(20, never);
  EXPECT_GT(step.seconds, 0);
  EXPECT_LE(step.fastest, step.seconds);
  EXPECT_LE(step.seconds, step.slowest);
  for (const double part : {step.forward, step.head, step.backward, step.update}) EXPECT_GT(part, 0);
  // Random targets: near the uniform loss at first; the same few batches come again, so it falls.
  EXPECT_NEAR(step.first_loss, std::log(61.0), 0.3);
  EXPECT_LT(step.last_loss, step.first_loss);
  EXPECT_GT(step.last_norm, 0);
}

TEST(Benchmark, ShareOfTheRoofIsThatOfTheTighterLimit) {
  const MachineLimits limits{1000, 10};
  OpTiming op;
  op.seconds = 2;
  op.flops = 1000;  // half of the rate of products
  op.bytes = 1;
  EXPECT_DOUBLE_EQ(share_of_roof(op, limits), 0.5);
  op.bytes = 16;  // eight tenths of the memory's
  EXPECT_DOUBLE_EQ(share_of_roof(op, limits), 0.8);
}

TEST(Benchmark, WhatNoOpTookIsAccumulationAndGaps) {
  OpTiming first, second;
  first.seconds = 0.25;
  first.per_step = 4;
  first.stage = Stage::head_products;
  second.seconds = 0.5;
  second.per_step = 3;
  second.stage = Stage::update;
  const StepTime time = measured_stages({first, second, first}, 5);
  EXPECT_DOUBLE_EQ(time.seconds[static_cast<int>(Stage::head_products)], 2);
  EXPECT_DOUBLE_EQ(time.seconds[static_cast<int>(Stage::update)], 1.5);
  EXPECT_DOUBLE_EQ(time.seconds[static_cast<int>(Stage::accumulation_and_gaps)], 1.5);
  EXPECT_DOUBLE_EQ(time.total(), 5);
}

TEST(PublishedPeaks, AreFoundByTheDriversName) {
  struct Known {
    const char* name;
    DType type;
    double flops, bytes;
  };
  for (const Known& known :
       {Known{"NVIDIA H100 80GB HBM3", DType::bf16, 989.4e12, 3350e9},
        Known{"NVIDIA H100 PCIe", DType::bf16, 756e12, 2000e9}, Known{"NVIDIA H200", DType::f16, 989.4e12, 4800e9},
        Known{"NVIDIA A100-SXM4-80GB", DType::bf16, 312e12, 2039e9},
        Known{"NVIDIA A100-SXM4-40GB", DType::bf16, 312e12, 1555e9},
        Known{"NVIDIA A100 80GB PCIe", DType::bf16, 312e12, 1935e9},
        Known{"NVIDIA L40S", DType::bf16, 362.05e12, 864e9}, Known{"NVIDIA L4", DType::bf16, 121e12, 300e9},
        Known{"NVIDIA A10", DType::f32, 31.2e12, 600e9},
        Known{"NVIDIA GeForce RTX 4090", DType::bf16, 165.2e12, 1008e9},
        Known{"NVIDIA GeForce RTX 5090", DType::bf16, 209.5e12, 1792e9},
        Known{"NVIDIA B200", DType::bf16, 2250e12, 8000e9}, Known{"Tesla V100-SXM2-16GB", DType::f16, 125e12, 900e9},
        Known{"Tesla T4", DType::f16, 65e12, 320e9}}) {
    DeviceInfo device;
    device.kind = "cuda";
    device.name = known.name;
    EXPECT_EQ(peak_matmul_flops(device, known.type), known.flops) << known.name;
    EXPECT_EQ(peak_memory_bytes(device), known.bytes) << known.name;
  }
}

TEST(PublishedPeaks, OfWhatIsNotKnownAreZero) {
  for (const char* name : {"NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA GeForce RTX 4090 Laptop GPU",
                           "NVIDIA GeForce RTX 4090 D", "NVIDIA A1000", "some other GPU", ""}) {
    DeviceInfo device;
    device.kind = "cuda";
    device.name = name;
    EXPECT_EQ(peak_matmul_flops(device, DType::bf16), 0) << name;
    EXPECT_EQ(peak_memory_bytes(device), 0) << name;
  }
  DeviceInfo cpu;
  cpu.kind = "cpu";
  cpu.name = "Processor named L4, 2 threads";
  EXPECT_EQ(peak_matmul_flops(cpu, DType::f32), 0);
  DeviceInfo v100;
  v100.kind = "cuda";
  v100.name = "Tesla V100-SXM2-16GB";
  EXPECT_EQ(peak_matmul_flops(v100, DType::bf16), 0);  // it has no BF16
}

TEST(MeasuredRates, OfThisMachineAreThoseOfARealOne) {
  Backend backend = one_thread();
  const double products = measure_matmul_flops(backend, DType::f32, 0.02), bytes = measure_memory_bytes(backend, 0.02);
  EXPECT_GT(products, 1e7);
  EXPECT_LT(products, 1e15);
  EXPECT_GT(bytes, 1e6);
  EXPECT_LT(bytes, 1e14);
}

}  // namespace nll::test
