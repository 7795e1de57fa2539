#include "src/train/speed_of_light.h"

#include <gtest/gtest.h>

#include "kernels/machine.h"
#include "src/model/gpt.h"
#include "src/train/plan.h"

namespace nll::test {

namespace {

struct Size {
  std::int64_t layers, heads, width, sequences;
  double limit_milliseconds, practical_milliseconds;  // of 524288 tokens on an H100, worked out by hand from its rates
};
constexpr Size sizes[] = {{12, 12, 768, 64, 680, 829},
                          {24, 16, 1024, 64, 1845, 2176},
                          {36, 20, 1280, 32, 3868, 4436},
                          {48, 25, 1600, 16, 7514, 8440}};

ModelConfig model_of(const Size& size) {
  ModelConfig model;
  model.layers = size.layers;
  model.heads = size.heads;
  model.width = size.width;
  return model;
}

StepTime step_of(const Size& size, const DeviceRates& rates, Bound bound) {
  return speed_of_light(model_of(size), 1024, size.sequences, 512 / size.sequences, rates, bound);
}

double stage(const StepTime& time, Stage which) { return time.seconds[static_cast<int>(which)]; }

}  // namespace

TEST(SpeedOfLight, GivesTheWorkedOutStepTimesOfGpt2OnAnH100) {
  const DeviceRates& h100 = known_device_rates().front();
  ASSERT_EQ(h100.name, "h100");
  for (const Size& size : sizes) {
    const double limit = 1e3 * step_of(size, h100, Bound::limit).total(),
                 practical = 1e3 * step_of(size, h100, Bound::practical).total();
    EXPECT_NEAR(limit, size.limit_milliseconds, 0.01 * size.limit_milliseconds);
    EXPECT_NEAR(practical, size.practical_milliseconds, 0.01 * size.practical_milliseconds);
  }
}

TEST(SpeedOfLight, GivesTheWorkedOutStagesOfTheSmallestModel) {
  const StepTime time = step_of(sizes[0], known_device_rates().front(), Bound::practical);
  const double expected[stage_count] = {408, 186, 34, 97, 29, 30, 39, 1.9, 1.4, 2.9};
  for (int i = 0; i < stage_count; ++i) {
    // The expected numbers are rounded to half a unit of their last digit.
    EXPECT_NEAR(1e3 * time.seconds[i], expected[i], expected[i] < 10 ? 0.06 : 0.6) << stage_name(static_cast<Stage>(i));
  }
}

TEST(SpeedOfLight, GivesTheWorkedOutPriceOfComputingAgain) {
  const DeviceRates& h100 = known_device_rates().front();
  const ModelConfig model = model_of(sizes[0]);
  const auto milliseconds = [&](Recompute recompute) {
    const StepTime with = speed_of_light(model, 1024, 64, 8, h100, Bound::practical, recompute),
                   without = speed_of_light(model, 1024, 64, 8, h100, Bound::practical);
    EXPECT_NEAR(with.total() - without.total(), stage(with, Stage::recomputation), 1e-9);
    return 1e3 * stage(with, Stage::recomputation);
  };
  EXPECT_EQ(milliseconds(Recompute::none), 0);
  // 29 and 29 + 14 for 12 layers, of which the last is still there.
  EXPECT_NEAR(milliseconds(Recompute::gelu), 28.6 * 11 / 12, 0.1);
  EXPECT_NEAR(milliseconds(Recompute::norm), 43.0 * 11 / 12, 0.1);
  // Products 408 / 72 * 16, attention 34, norms 22.
  EXPECT_NEAR(milliseconds(Recompute::block), (408.0 / 72 * 16 + 34 + 21.5) * 11 / 12, 1.0);
}

TEST(SpeedOfLight, FasterMemoryShortensOnlyWhatIsBoundByIt) {
  const DeviceRates &h100 = known_device_rates()[0], &h200 = known_device_rates()[1];
  DeviceRates faster = h100;
  faster.memory = h200.memory;
  const StepTime before = step_of(sizes[1], h100, Bound::limit), after = step_of(sizes[1], faster, Bound::limit);
  EXPECT_EQ(stage(before, Stage::block_products), stage(after, Stage::block_products));
  EXPECT_EQ(stage(before, Stage::attention_backward), stage(after, Stage::attention_backward));
  for (const Stage bound : {Stage::norm_forward, Stage::norm_backward, Stage::cross_entropy, Stage::update}) {
    EXPECT_NEAR(stage(before, bound) / stage(after, bound), faster.memory / h100.memory, 1e-9);
  }
}

TEST(SpeedOfLight, AStepTakesAtLeastItsCountedOperationsAtThePeakOfProducts) {
  const DeviceRates& h100 = known_device_rates().front();
  for (const Size& size : sizes) {
    const double operations = training_flops_per_token(model_of(size), 1024) * 524288;
    EXPECT_GT(step_of(size, h100, Bound::limit).total(), operations / h100.matmul);
    EXPECT_GT(step_of(size, h100, Bound::practical).total(), step_of(size, h100, Bound::limit).total());
  }
}

TEST(SpeedOfLight, OfAMeasuredCpuCountsFp32AndNothingAboveTheMeasuredRates) {
  DeviceInfo cpu;
  cpu.kind = "cpu";
  const DeviceRates rates = measured_rates(cpu, Numerics{}, 300e9, 30e9);
  EXPECT_EQ(rates.element_bytes, 4);
  ModelConfig model;
  const StepTime limit = speed_of_light(model, 64, 4, 1, rates, Bound::limit),
                 practical = speed_of_light(model, 64, 4, 1, rates, Bound::practical);
  EXPECT_EQ(limit.total(), practical.total());
  EXPECT_EQ(stage(limit, Stage::accumulation_and_gaps), 0);
  // 28 bytes a parameter and 4 for the norm.
  const double stored = 50304.0 * 768 + 1024 * 768 + 12 * (12.0 * 768 * 768 + 13 * 768) + 2 * 768;
  EXPECT_NEAR(stage(limit, Stage::update), 32 * stored / 30e9, 1e-9);
}

TEST(SpeedOfLight, ANamedGpuPlansInBf16WithinItsMemory) {
  for (const DeviceRates& rates : known_device_rates()) {
    const DeviceInfo device = planned_device(rates);
    EXPECT_EQ(find_device_rates(device), &rates);
    EXPECT_EQ(peak_matmul_flops(device, DType::bf16), 989.4e12);
    EXPECT_GT(peak_memory_bytes(device), rates.memory);
    const Numerics numerics = resolve_numerics(Config{}, device);
    EXPECT_EQ(numerics.compute, DType::bf16);
    EXPECT_TRUE(numerics.gpu);
    const TrainPlan plan = make_plan(Config{}, 1, device.available_memory_bytes, numerics);
    EXPECT_EQ(plan.sequences, 64);
    EXPECT_LT(plan.bytes(), device.memory_bytes);
  }
}

}  // namespace nll::test
