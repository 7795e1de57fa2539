// A curve over optimizer steps and what a plot makes of it.
#pragma once
#include <cstddef>
#include <utility>
#include <vector>

namespace nll {

struct Point {
  double step, value;  // value: not finite where there is a hole
};
using Curve = std::vector<Point>;

// At most two points (the lowest and the highest) for each of `columns` equal parts of the axis, in their order, so
// that a spike is never lost and a million steps make a small file. A column with nothing finite keeps one hole.
Curve thin(const Curve& curve, double low_step, double high_step, std::size_t columns);
// The same for an axis that may be shown linear or logarithmic: equal parts of both, so that neither the start of a
// long run on the one nor its end on the other loses anything. At most 4 * `columns` points.
Curve thin_for_both_scales(const Curve& curve, double low_step, double high_step, std::size_t columns);
// The mean over a fiftieth of the curve around each point (less near its ends, so that nothing lags) of the median of
// five, which takes out single spikes; holes stay holes.
Curve smoothed(const Curve& curve);
// Whether neighbours differ so much that the course is hard to see without smoothing.
bool is_noisy(const Curve& curve);
// The losses a plot shows: all of the smoothed course and of the validation, and the training losses but for the
// highest 2 %, so that one spike does not flatten the rest. 0 to 1 when nothing is finite.
std::pair<double, double> visible_range(const Curve& training, const Curve& smooth, const Curve& held);

}  // namespace nll
