#include "src/eval/calibration.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

namespace nll {
namespace {

// Fourteen predictions with confidences on, between and at the ends of bin edges.
const std::vector<double> confidences = {0.0,   0.0625, 0.09375, 0.1875,  0.3125, 0.3125, 0.5,
                                         0.625, 0.625,  0.6875,  0.84375, 0.9375, 1.0,    1.0};
const std::vector<int> correct = {0, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1, 0, 1, 1};

struct Filled {
  std::size_t bin;
  std::int64_t count;
  double accuracy, confidence;
};

template <std::size_t M>
void expect(const CalibrationError& expected, const std::vector<Filled>& filled) {
  std::array<CalibrationBin, M> bins{};
  for (std::size_t i = 0; i < confidences.size(); ++i) add_prediction(bins, confidences[i], correct[i] != 0);
  const CalibrationError found = calibration_error(bins);
  EXPECT_NEAR(found.ece, expected.ece, 1e-15);
  EXPECT_NEAR(found.mce, expected.mce, 1e-15);
  EXPECT_NEAR(found.rms_ce, expected.rms_ce, 1e-15);
  std::int64_t count = 0;
  for (const CalibrationBin& bin : bins) count += bin.count;
  EXPECT_EQ(count, 14);
  for (const Filled& f : filled) {
    EXPECT_EQ(bins[f.bin].count, f.count) << f.bin;
    EXPECT_NEAR(bins[f.bin].accuracy(), f.accuracy, 1e-15) << f.bin;
    EXPECT_NEAR(bins[f.bin].confidence(), f.confidence, 1e-15) << f.bin;
    count -= f.count;
  }
  EXPECT_EQ(count, 0);
}

TEST(Calibration, ErrorsWithTenBinsAreTheExactOnes) {
  expect<10>({0.21428571428571425, 0.8125, 0.3055781016212978}, {{0, 3, 0, 0.15625 / 3},
                                                                 {1, 1, 1, 0.1875},
                                                                 {3, 2, 0.5, 0.3125},
                                                                 {4, 1, 1, 0.5},
                                                                 {6, 3, 2.0 / 3, 1.9375 / 3},
                                                                 {8, 1, 1, 0.84375},
                                                                 {9, 3, 2.0 / 3, 2.9375 / 3}});
}

TEST(Calibration, ErrorsWithFifteenBinsAreTheExactOnes) {
  expect<15>({0.25, 0.8125, 0.3204349722308279}, {{0, 2, 0, 0.03125},
                                                  {1, 1, 0, 0.09375},
                                                  {2, 1, 1, 0.1875},
                                                  {4, 2, 0.5, 0.3125},
                                                  {7, 1, 1, 0.5},
                                                  {9, 2, 0.5, 0.625},
                                                  {10, 1, 1, 0.6875},
                                                  {12, 1, 1, 0.84375},
                                                  {14, 3, 2.0 / 3, 2.9375 / 3}});
}

TEST(Calibration, BinsAreOpenBelowAndClosedAbove) {
  EXPECT_EQ(calibration_bin(0, 15), 0u);
  EXPECT_EQ(calibration_bin(1, 15), 14u);
  EXPECT_EQ(calibration_bin(0.5, 10), 4u);
  EXPECT_EQ(calibration_bin(std::nextafter(0.5, 1), 10), 5u);
  EXPECT_EQ(calibration_bin(0.75, 4), 2u);
  EXPECT_EQ(calibration_bin(std::numeric_limits<double>::denorm_min(), 15), 0u);
  EXPECT_EQ(calibration_bin(1.0000001, 15), 14u);
  EXPECT_EQ(calibration_bin(-0.1, 15), 0u);
  EXPECT_EQ(calibration_bin(std::numeric_limits<double>::quiet_NaN(), 15), 0u);
}

TEST(Calibration, OfNoPredictionsIsZero) {
  const std::array<CalibrationBin, 15> bins{};
  EXPECT_EQ(calibration_error(bins).ece, 0);
  EXPECT_EQ(calibration_error(bins).rms_ce, 0);
}

TEST(Calibration, EqualMassBinsHoldEquallyManyInOrderOfConfidence) {
  std::vector<Prediction> predictions;
  for (std::size_t i = confidences.size(); i > 0; --i)  // from the last to the first: the order is the confidences'
    predictions.push_back({static_cast<float>(confidences[i - 1]), correct[i - 1] != 0});
  const std::vector<CalibrationBin> bins = equal_mass_bins(predictions, 7);
  ASSERT_EQ(bins.size(), 7u);
  const std::vector<Filled> expected = {{0, 2, 0, 0.03125}, {1, 2, 0.5, 0.140625}, {2, 2, 0.5, 0.3125},
                                        {3, 2, 1, 0.5625},  {4, 2, 0.5, 0.65625},  {5, 2, 0.5, 0.890625},
                                        {6, 2, 1, 1}};
  double ece = 0;
  for (const Filled& f : expected) {
    EXPECT_EQ(bins[f.bin].count, f.count) << f.bin;
    EXPECT_EQ(bins[f.bin].accuracy(), f.accuracy) << f.bin;
    EXPECT_EQ(bins[f.bin].confidence(), f.confidence) << f.bin;
    ece += std::abs(f.accuracy - f.confidence) / 7;
  }
  EXPECT_DOUBLE_EQ(calibration_error(bins).ece, ece);
}

TEST(Calibration, EqualMassBinsDifferByOneAtMostAndLoseNothing) {
  for (std::size_t n = 0; n <= 40; ++n) {
    const std::vector<Prediction> same(n, {0.5f, true});
    std::int64_t all = 0, least = 1000, most = 0;
    for (const CalibrationBin& bin : equal_mass_bins(same, 15)) {
      all += bin.count;
      least = std::min(least, bin.count);
      most = std::max(most, bin.count);
    }
    EXPECT_EQ(all, static_cast<std::int64_t>(n));
    EXPECT_LE(most - least, 1) << n;
  }
}

TEST(Calibration, OneEqualMassBinIsTheGapOfTheMeans) {
  const std::vector<CalibrationBin> bins = equal_mass_bins({{0.25f, true}, {0.75f, false}, {0.5f, false}}, 1);
  EXPECT_DOUBLE_EQ(calibration_error(bins).ece, 0.5 - 1.0 / 3);
}

}  // namespace
}  // namespace nll
