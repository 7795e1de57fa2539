#include "src/eval/sampled_calibration.h"

#include <algorithm>
#include <cmath>

#include "kernels/check.h"

namespace nll {

namespace {

double largest(std::span<const float> logits) {
  return static_cast<double>(*std::max_element(logits.begin(), logits.end()));
}

}  // namespace

double EventCalibration::upper(std::size_t bin) {
  return std::pow(10.0, -static_cast<double>(bin) / static_cast<double>(bins_per_decade));
}

void EventCalibration::add(std::span<const float> logits, std::int32_t target) {
  const double m = largest(logits);
  double sum = 0;
  for (const float u : logits) sum += std::exp(static_cast<double>(u) - m);
  const double lse = m + std::log(sum);
  const double bins_per_nat = static_cast<double>(bins_per_decade) / std::log(10.0);
  for (std::size_t j = 0; j < logits.size(); ++j) {
    const double logp = std::min(0.0, static_cast<double>(logits[j]) - lse);
    const double place = std::min(-logp * bins_per_nat, static_cast<double>(bins - 1));
    Bin& bin = bins_[static_cast<std::size_t>(place)];
    ++bin.events;
    bin.happened += static_cast<std::int32_t>(j) == target;
    bin.probability_sum += std::exp(logp);
  }
}

TemperatureFit::TemperatureFit() {
  for (std::size_t i = 0; i < points; ++i)
    inverse_[i] = 1 / highest + (1 / lowest - 1 / highest) * static_cast<double>(i) / static_cast<double>(points - 1);
}

void TemperatureFit::add(std::span<const float> logits, std::int32_t target) {
  constexpr double nothing = -90;  // e^(0.5 * -90) is no part of a sum above 1
  const double m = largest(logits), gold = static_cast<double>(logits[static_cast<std::size_t>(target)]) - m;
  std::array<double, points> sum{}, weighted{};
  for (const float u : logits) {
    const double above = static_cast<double>(u) - m;
    if (above < nothing) continue;
    // Inverse temperatures are equally far apart, so that each power is the one before it times a factor.
    double power = std::exp(inverse_[0] * above);
    const double factor = std::exp((inverse_[1] - inverse_[0]) * above);
    for (std::size_t i = 0; i < points; ++i) {
      sum[i] += power;
      weighted[i] += power * above;
      power *= factor;
    }
  }
  ++tokens_;
  for (std::size_t i = 0; i < points; ++i) {
    loss_[i] += std::log(sum[i]) - inverse_[i] * gold;
    slope_[i] += weighted[i] / sum[i] - gold;
  }
}

double TemperatureFit::loss(double temperature) const {
  CHECK(temperature > 0);
  if (tokens_ == 0) return 0;
  const double at = std::clamp(1 / temperature, inverse_.front(), inverse_.back());
  const auto above = std::upper_bound(inverse_.begin() + 1, inverse_.end() - 1, at);
  const std::size_t b = static_cast<std::size_t>(above - inverse_.begin()), a = b - 1;
  // The cubic of Hermite.
  const double h = inverse_[b] - inverse_[a], t = (at - inverse_[a]) / h, s = 1 - t;
  const double sum =
      s * s * (1 + 2 * t) * loss_[a] + t * t * (1 + 2 * s) * loss_[b] + h * t * s * (s * slope_[a] - t * slope_[b]);
  return sum / static_cast<double>(tokens_);
}

double TemperatureFit::temperature() const {
  if (tokens_ == 0) return 1;
  const auto least = std::min_element(loss_.begin(), loss_.end());
  const std::size_t i = static_cast<std::size_t>(least - loss_.begin());
  double low = inverse_[i == 0 ? 0 : i - 1], high = inverse_[std::min(i + 1, points - 1)];
  const double golden = (std::sqrt(5.0) - 1) / 2;
  while (high - low > 1e-7) {
    const double left = high - golden * (high - low), right = low + golden * (high - low);
    if (loss(1 / left) <= loss(1 / right)) {
      high = right;
    } else {
      low = left;
    }
  }
  return 2 / (low + high);
}

void TemperedScore::add(std::span<const float> logits, std::int32_t target) {
  const double m = largest(logits);
  double sum = 0;
  for (const float u : logits) sum += std::exp((static_cast<double>(u) - m) / temperature_);
  const double gold = (static_cast<double>(logits[static_cast<std::size_t>(target)]) - m) / temperature_;
  ++tokens_;
  nll_ += std::log(sum) - gold;
  // Of equal choices the lower id counts, as in the head's ranks.
  const auto first = std::max_element(logits.begin(), logits.end()) - logits.begin();
  add_prediction(bins_, 1 / sum, first == target);
}

}  // namespace nll
