#include "src/eval/bfgs.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace nll {
namespace {

constexpr int n = law_size;
constexpr int most_steps = 1000, most_trials = 60;
constexpr double small_gradient = 1e-15;
using Matrix = std::array<LawVector, n>;

double dot(const LawVector& a, const LawVector& b) {
  double sum = 0;
  for (int i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

Matrix scaled_identity(double scale) {
  Matrix matrix{};
  for (int i = 0; i < n; ++i) matrix[i][i] = scale;
  return matrix;
}

// H becomes (I - r s y') H (I - r y s') + r s s', r = 1 / s'y: the inverse Hessian that maps y to s.
void update(Matrix& inverse, const LawVector& s, const LawVector& y, double sy) {
  LawVector hy{};
  for (int i = 0; i < n; ++i) hy[i] = dot(inverse[i], y);
  const double factor = (1 + dot(y, hy) / sy) / sy;
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) inverse[i][j] += factor * s[i] * s[j] - (hy[i] * s[j] + s[i] * hy[j]) / sy;
  }
}

}  // namespace

double minimize_bfgs(const Smooth& function, LawVector& x) {
  LawVector gradient{};
  double value = function(x, gradient);
  // The first step moves no variable by more than a tenth.
  double largest = 0;
  for (double g : gradient) largest = std::max(largest, std::abs(g));
  if (!(largest > small_gradient)) return value;
  Matrix inverse = scaled_identity(0.1 / largest);
  bool fresh = true;
  for (int step = 0; step < most_steps; ++step) {
    LawVector direction{};
    for (int i = 0; i < n; ++i) direction[i] = -dot(inverse[i], gradient);
    double slope = dot(direction, gradient);
    if (!(slope < 0)) {
      if (fresh) break;
      inverse = scaled_identity(0.1 / largest);
      fresh = true;
      continue;
    }
    double low = 0, high = std::numeric_limits<double>::infinity(), length = 1, next_value = value;
    LawVector next = x, next_gradient = gradient;
    bool found = false;
    for (int trial = 0; trial < most_trials && !found; ++trial) {
      for (int i = 0; i < n; ++i) next[i] = x[i] + length * direction[i];
      next_value = function(next, next_gradient);
      if (!(next_value <= value + 1e-4 * length * slope)) {
        high = length;
      } else if (dot(next_gradient, direction) < 0.9 * slope) {
        low = length;
      } else {
        found = true;
      }
      if (!found) length = std::isinf(high) ? 2 * low : 0.5 * (low + high);
    }
    if (!found && !(next_value < value)) {
      // The curvature that was learned may be of another piece of the function: once more, straight downhill.
      if (fresh) break;
      inverse = scaled_identity(0.1 / largest);
      fresh = true;
      continue;
    }
    LawVector s{}, y{};
    for (int i = 0; i < n; ++i) {
      s[i] = next[i] - x[i];
      y[i] = next_gradient[i] - gradient[i];
    }
    const bool stands_still = next_value == value;
    x = next;
    value = next_value;
    gradient = next_gradient;
    largest = 0;
    for (double g : gradient) largest = std::max(largest, std::abs(g));
    if (!(largest > small_gradient) || stands_still) break;
    if (const double sy = dot(s, y); sy > 0) {
      if (fresh) inverse = scaled_identity(sy / dot(y, y));
      update(inverse, s, y, sy);
      fresh = false;
    }
  }
  return value;
}

}  // namespace nll
