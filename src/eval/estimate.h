// Estimate: a mean of what was measured several times, and how far it may be off.
#pragma once
#include <span>

namespace nll {

struct Estimate {
  double mean = 0;
  double error = 0;  // standard error of the mean, s / sqrt(n); not a number of a single value
};

// Of no values both are not a number.
Estimate estimate(std::span<const double> values);

}  // namespace nll
