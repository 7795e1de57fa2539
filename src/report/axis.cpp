#include "src/report/axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

namespace nll {
namespace {

// The smallest of 1, 2, 5 times a power of ten that is at least `step`.
double round_up(double step) {
  const double power = std::pow(10.0, std::floor(std::log10(step)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    // A step that is round already comes out of the division a rounding error away from the factor.
    if (step <= factor * power * (1 + 1e-9)) return factor * power;
  }
  return 10 * power;
}

// `value` with the decimals that a tick of `step` needs.
std::string with_decimals(double value, double step) {
  const int decimals = std::clamp(static_cast<int>(-std::floor(std::log10(step) + 1e-9)), 0, 12);
  return fmt::format("{:.{}f}", value, decimals);
}

}  // namespace

Axis round_axis(double low, double high, int count, bool ends_on_ticks, bool whole) {
  // Too narrow to be told apart: ticks would fall on each other, or whole numbers between them would be missing.
  const double magnitude = std::max(std::abs(low), std::abs(high));
  if (!(high - low > magnitude * 1e-9) || (whole && high - low < 1)) {
    const double room = whole ? std::max(magnitude * 1e-6, 1.0) : std::max(magnitude * 0.1, 1e-9);
    high = low + room;
    if (!whole) low -= room;
  }
  Axis axis;
  axis.tick_step = round_up((high - low) / std::max(count, 1));
  if (whole) axis.tick_step = std::max(axis.tick_step, 1.0);
  const double step = axis.tick_step;
  axis.low = ends_on_ticks ? std::floor(low / step + 1e-9) * step : low;
  axis.high = ends_on_ticks ? std::ceil(high / step - 1e-9) * step : high;
  // Counted in whole steps, so that rounding errors do not add up and the last tick is not lost.
  const double first = std::ceil(axis.low / step - 1e-9);
  for (int i = 0; i < 1000; ++i) {
    const double tick = (first + i) * step;
    if (tick > axis.high + step * 1e-9) break;
    axis.ticks.push_back(tick == 0 ? 0 : tick);  // no "-0"
  }
  return axis;
}

std::string Axis::label(double tick) const {
  constexpr std::array<const char*, 6> units = {"", "k", "M", "B", "T", "P"};
  if (tick == 0) return "0";
  const double largest = std::max(std::abs(low), std::abs(high));
  if (largest < 0.01 || largest >= 1e18) {
    // 6e-4 and not 6e-04: the exponent without the zeros of printf.
    const int exponent = static_cast<int>(std::floor(std::log10(std::abs(tick)) + 1e-9));
    const double mantissa = tick / std::pow(10.0, exponent);
    const std::string digits = fmt::format("{:.3g}", mantissa);
    return fmt::format("{}e{}", digits, exponent);
  }
  std::size_t unit = 0;
  double scale = 1;
  while (unit + 1 < units.size() && std::abs(tick) >= 1000 * scale && tick_step >= 10 * scale) {
    scale *= 1000;
    ++unit;
  }
  std::string text = with_decimals(tick / scale, tick_step / scale);
  // 1.5k and 2k, but 1.5 and 2.0: plain numbers line up at the left, steps stand apart.
  if (unit > 0 && text.find('.') != std::string::npos) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
  }
  return text + units[unit];
}

}  // namespace nll
