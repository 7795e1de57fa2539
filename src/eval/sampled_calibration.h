// What a sample of whole distributions says of calibration: whether events of any probability happen as often as the
// model says, and what a single temperature would change. docs/evaluation.md.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "src/eval/calibration.h"

namespace nll {

// Every probability that a model gives to a token of the vocabulary, and whether that token came.
class EventCalibration {
 public:
  static constexpr std::size_t bins_per_decade = 3, bins = 8 * bins_per_decade + 1;
  struct Bin {
    std::int64_t events = 0, happened = 0;
    double probability_sum = 0;
    double probability() const { return events == 0 ? 0 : probability_sum / static_cast<double>(events); }
    double rate() const { return events == 0 ? 0 : static_cast<double>(happened) / static_cast<double>(events); }
  };
  // Bin k holds probabilities in (upper(k + 1), upper(k)], upper(k) = 10^(-k / 3); the last one all smaller ones.
  static double upper(std::size_t bin);

  void add(std::span<const float> logits, std::int32_t target);
  const std::array<Bin, bins>& result() const { return bins_; }

 private:
  std::array<Bin, bins> bins_{};
};

// The temperature in [0.5, 2] by which logits must be divided for the least mean loss: the loss and its slope are
// summed up for a grid of inverse temperatures, in which it is convex; golden section search on the cubic that goes
// through both finds the least one between grid points.
class TemperatureFit {
 public:
  TemperatureFit();
  void add(std::span<const float> logits, std::int32_t target);
  std::int64_t tokens() const { return tokens_; }
  double temperature() const;             // 1 where nothing was added
  double loss(double temperature) const;  // mean of what was added, between grid points by the cubic
  static constexpr double lowest = 0.5, highest = 2;

 private:
  static constexpr std::size_t points = 31;                  // 0.05 apart, and 1 is among them
  std::array<double, points> inverse_{}, loss_{}, slope_{};  // slope: of the loss over the inverse temperature
  std::int64_t tokens_ = 0;
};

// Loss and top-1 calibration of logits at one temperature.
class TemperedScore {
 public:
  explicit TemperedScore(double temperature) : temperature_(temperature) {}
  void add(std::span<const float> logits, std::int32_t target);
  std::int64_t tokens() const { return tokens_; }
  double loss() const { return tokens_ == 0 ? 0 : nll_ / static_cast<double>(tokens_); }
  double ece() const { return calibration_error(bins_).ece; }  // 15 bins
  std::span<const CalibrationBin> bins() const { return bins_; }

 private:
  double temperature_, nll_ = 0;
  std::int64_t tokens_ = 0;
  std::array<CalibrationBin, 15> bins_{};
};

}  // namespace nll
