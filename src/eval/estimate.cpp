#include "src/eval/estimate.h"

#include <cmath>
#include <limits>

namespace nll {

Estimate estimate(std::span<const double> values) {
  constexpr double unknown = std::numeric_limits<double>::quiet_NaN();
  if (values.empty()) return {unknown, unknown};
  const double n = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  for (double value : values) sum += value;
  const double mean = sum / n;
  for (double value : values) squares += (value - mean) * (value - mean);
  return {mean, values.size() < 2 ? unknown : std::sqrt(squares / (n - 1) / n)};
}

}  // namespace nll
