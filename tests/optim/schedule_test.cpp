#include "src/optim/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace nll {

namespace {

ScheduleConfig schedule(const std::string& kind, std::int64_t warmup, std::int64_t steps, double final_fraction) {
  ScheduleConfig config;
  config.kind = kind;
  config.warmup_steps = warmup;
  config.steps = steps;
  config.final_fraction = final_fraction;
  return config;
}

}  // namespace

TEST(Schedule, EveryKindEndsExactlyAtItsFloor) {
  for (const char* kind : {"cosine", "linear", "wsd"}) {
    for (std::int64_t warmup : {0, 1, 10, 99}) {
      for (double floor : {0.0, 0.1, 1.0}) {
        EXPECT_EQ(learning_rate(schedule(kind, warmup, 100, floor), 6e-4, 99), 6e-4 * floor) << kind << " " << warmup;
      }
    }
  }
  EXPECT_EQ(learning_rate(schedule("constant", 10, 100, 0.1), 6e-4, 99), 6e-4);
}

TEST(Schedule, TheWarmUpRisesInEqualStepsToThePeak) {
  for (const char* kind : {"cosine", "linear", "constant", "wsd"}) {
    const ScheduleConfig config = schedule(kind, 4, 100, 0);
    EXPECT_DOUBLE_EQ(learning_rate(config, 1.0, 0), 0.25);
    EXPECT_DOUBLE_EQ(learning_rate(config, 1.0, 1), 0.5);
    EXPECT_DOUBLE_EQ(learning_rate(config, 1.0, 3), 1.0);
    EXPECT_LE(learning_rate(config, 1.0, 4), 1.0);
  }
}

TEST(Schedule, NeverRisesAfterTheWarmUpAndStaysBetweenFloorAndPeak) {
  for (const char* kind : {"cosine", "linear", "constant", "wsd"}) {
    const ScheduleConfig config = schedule(kind, 5, 60, 0.2);
    double before = 1.0;
    for (std::int64_t step = 5; step < 60; ++step) {
      const double rate = learning_rate(config, 1.0, step);
      EXPECT_LE(rate, before) << kind << " step " << step;
      EXPECT_GE(rate, 0.2);
      before = rate;
    }
  }
}

TEST(Schedule, CosineFollowsItsFormula) {
  const ScheduleConfig config = schedule("cosine", 10, 110, 0.1);
  for (std::int64_t step = 10; step < 109; ++step) {
    const double progress = static_cast<double>(step + 1 - 10) / 100;
    const double expected = 0.1 + 0.9 * 0.5 * (1 + std::cos(std::numbers::pi * progress));
    EXPECT_NEAR(learning_rate(config, 1.0, step), expected, 1e-15);
  }
  EXPECT_NEAR(learning_rate(config, 1.0, 59), 0.55, 1e-15);  // half way between peak and floor
}

TEST(Schedule, WarmUpStableDecayHoldsThePeakUntilItsDecay) {
  ScheduleConfig config = schedule("wsd", 10, 100, 0);
  EXPECT_EQ(learning_rate(config, 1.0, 79), 1.0);  // a fifth of the run is the decay
  EXPECT_LT(learning_rate(config, 1.0, 80), 1.0);
  config.decay_steps = 50;
  EXPECT_EQ(learning_rate(config, 1.0, 49), 1.0);
  EXPECT_NEAR(learning_rate(config, 1.0, 74), 0.5, 1e-15);
}

}  // namespace nll
