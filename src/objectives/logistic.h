// The logistic function and its relatives, in forms that neither overflow nor lose digits.
#pragma once
#include <algorithm>
#include <cmath>
#include <numbers>

namespace nll {

inline double sigmoid(double x) {
  if (x >= 0) return 1 / (1 + std::exp(-x));
  const double e = std::exp(x);
  return e / (1 + e);
}

inline double log_sigmoid(double x) { return x >= 0 ? -std::log1p(std::exp(-x)) : x - std::log1p(std::exp(x)); }

// log(1 - e^a), a < 0.
inline double log1mexp(double a) {
  return a > -std::numbers::ln2 ? std::log(-std::expm1(a)) : std::log1p(-std::exp(a));
}

// A log-probability of exactly 0 has no log(1 - p). Below this bound 1 - p keeps all its digits; derivatives are taken
// at the bound and stay finite: what they are multiplied with at the logits is 1 - p itself.
inline double below_certainty(double logp) { return std::min(logp, -0x1p-40); }

// a / b, 0 where there is nothing to divide by.
inline double ratio_or_zero(double a, double b) { return b == 0 ? 0.0 : a / b; }

}  // namespace nll
