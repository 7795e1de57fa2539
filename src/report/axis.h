// An axis with round ticks: 1, 2 or 5 times a power of ten apart.
#pragma once
#include <string>
#include <vector>

namespace nll {

struct Axis {
  double low = 0, high = 1;  // ends of the axis in values
  double tick_step = 1;
  std::vector<double> ticks;  // rising, all within the ends

  // Where `value` lies, 0 at `low` and 1 at `high`.
  double share(double value) const { return (value - low) / (high - low); }
  // A tick as text: 0.25, 2, 15k, 2M, 6e-4.
  std::string label(double tick) const;
};

// An axis over finite low <= high with about `count` ticks. `ends_on_ticks` widens it to round ends; `whole` keeps
// ticks whole numbers. An empty interval is widened around its value.
Axis round_axis(double low, double high, int count, bool ends_on_ticks, bool whole);

}  // namespace nll
