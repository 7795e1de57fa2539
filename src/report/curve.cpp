#include "src/report/curve.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace nll {
namespace {

std::vector<double> finite_values(const Curve& curve) {
  std::vector<double> values;
  for (const Point& point : curve) {
    if (std::isfinite(point.value)) values.push_back(point.value);
  }
  return values;
}

// The value below which `share` of the values lie; reorders them.
double quantile(std::vector<double>& values, double share) {
  const auto rank = static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + rank, values.end());
  return values[static_cast<std::size_t>(rank)];
}

// Which of `columns` equal parts of low to high holds `value`.
std::size_t column(double value, double low, double high, std::size_t columns) {
  const double share = high > low ? std::clamp((value - low) / (high - low), 0.0, 1.0) : 0.0;
  return std::min(static_cast<std::size_t>(share * static_cast<double>(columns)), columns - 1);
}

// The lowest and the highest of each run of points that column_of gives the same answer for.
template <class ColumnOf>
Curve thin_by(const Curve& curve, const ColumnOf& column_of) {
  Curve thinned;
  for (std::size_t begin = 0, end = 0; begin < curve.size(); begin = end) {
    const auto here = column_of(curve[begin].step);
    std::size_t lowest = curve.size(), highest = curve.size();
    for (end = begin; end < curve.size() && column_of(curve[end].step) == here; ++end) {
      if (!std::isfinite(curve[end].value)) continue;
      if (lowest == curve.size() || curve[end].value < curve[lowest].value) lowest = end;
      if (highest == curve.size() || curve[end].value > curve[highest].value) highest = end;
    }
    if (lowest == curve.size()) {
      thinned.push_back({curve[begin].step, std::numeric_limits<double>::quiet_NaN()});
      continue;
    }
    thinned.push_back(curve[std::min(lowest, highest)]);
    if (lowest != highest) thinned.push_back(curve[std::max(lowest, highest)]);
  }
  return thinned;
}

}  // namespace

Curve thin(const Curve& curve, double low_step, double high_step, std::size_t columns) {
  if (curve.size() <= 2 * columns || columns == 0 || !(high_step > low_step)) return curve;
  return thin_by(curve, [&](double step) { return column(step, low_step, high_step, columns); });
}

Curve thin_for_both_scales(const Curve& curve, double low_step, double high_step, std::size_t columns) {
  if (curve.size() <= 4 * columns || columns == 0 || !(high_step > low_step)) return curve;
  const double first = std::max(low_step, 1.0), log_low = std::log(first), log_high = std::log(high_step);
  return thin_by(curve, [&](double step) {
    const double log_step = std::log(std::max(step, first));
    return std::pair(column(step, low_step, high_step, columns), column(log_step, log_low, log_high, columns));
  });
}

Curve smoothed(const Curve& curve) {
  Curve finite;
  for (const Point& point : curve) {
    if (std::isfinite(point.value)) finite.push_back(point);
  }
  const std::size_t size = finite.size(), widest = size / 100;
  const auto reach_at = [&](std::size_t i, std::size_t most) { return std::min({i, size - 1 - i, most}); };
  std::vector<double> sums = {0};
  for (std::size_t i = 0; i < size; ++i) {
    std::vector<double> near;
    const std::size_t reach = reach_at(i, 2);
    for (std::size_t j = i - reach; j <= i + reach; ++j) near.push_back(finite[j].value);
    sums.push_back(sums.back() + quantile(near, 0.5));
  }
  std::size_t i = 0;
  Curve smooth = curve;
  for (Point& point : smooth) {
    if (!std::isfinite(point.value)) continue;
    const std::size_t reach = reach_at(i, widest);
    point.value = (sums[i + reach + 1] - sums[i - reach]) / static_cast<double>(2 * reach + 1);
    ++i;
  }
  return smooth;
}

bool is_noisy(const Curve& curve) {
  const std::vector<double> values = finite_values(curve);
  if (values.size() < 30) return false;
  // Where a falling curve and its noise differ: noise goes up as often as down.
  double up = 0, down = 0;
  for (std::size_t i = 1; i < values.size(); ++i) (values[i] > values[i - 1] ? up : down) += values[i] - values[i - 1];
  return up > 0.1 * -down;
}

std::pair<double, double> visible_range(const Curve& training, const Curve& smooth, const Curve& held) {
  std::vector<double> seen = finite_values(held);
  if (std::vector<double> values = finite_values(training); !values.empty()) {
    seen.push_back(values.front());
    seen.push_back(quantile(values, 0.98));
    seen.push_back(*std::min_element(values.begin(), values.end()));
  }
  if (std::vector<double> values = finite_values(smooth); !values.empty()) {
    seen.push_back(quantile(values, 0.98));
    seen.push_back(*std::min_element(values.begin(), values.end()));
  }
  if (seen.empty()) return {0, 1};
  const auto [low, high] = std::minmax_element(seen.begin(), seen.end());
  return {*low, *high};
}

}  // namespace nll
