#include "src/eval/student_t.h"

#include <cmath>
#include <limits>

#include "kernels/check.h"

namespace nll {
namespace {

// A factor of Lentz's method that must not vanish.
double away_from_zero(double value) { return std::abs(value) < 1e-300 ? 1e-300 : value; }

// The regularised incomplete beta function I_x(a, b) by its continued fraction (DLMF 8.17.22), which converges fast
// for x < (a + 1) / (a + b + 2); beyond it I_x(a, b) = 1 - I_{1-x}(b, a).
double incomplete_beta(double x, double a, double b) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incomplete_beta(1 - x, b, a);
  double c = 1, d = 1 / away_from_zero(1 - (a + b) * x / (a + 1)), fraction = d;
  for (int m = 1; m < 500; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    double change = 1;
    for (const double term : {even, odd}) {
      d = 1 / away_from_zero(1 + term * d);
      c = away_from_zero(1 + term / c);
      change = c * d;
      fraction *= change;
    }
    if (std::abs(change - 1) < std::numeric_limits<double>::epsilon()) break;
  }
  const double front =
      std::exp(a * std::log(x) + b * std::log1p(-x) + std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b));
  return front * fraction / a;
}

}  // namespace

double student_t_probability(double t, double degrees) {
  CHECK(degrees > 0);
  const double tail = 0.5 * incomplete_beta(degrees / (degrees + t * t), degrees / 2, 0.5);
  return t > 0 ? 1 - tail : tail;
}

double student_t_quantile(double probability, double degrees) {
  CHECK(probability >= 0.5);
  CHECK(probability < 1);
  double low = 0, high = 1;
  while (student_t_probability(high, degrees) < probability) high *= 2;
  for (int i = 0; i < 100 && high - low > 1e-15 * high; ++i) {
    const double middle = 0.5 * (low + high);
    (student_t_probability(middle, degrees) < probability ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

}  // namespace nll
