// BFGS: minimises a function of a few variables whose gradient is known.
#pragma once
#include <array>
#include <functional>

namespace nll {

inline constexpr int law_size = 5;
using LawVector = std::array<double, law_size>;

// The value at x; writes the gradient.
using Smooth = std::function<double(const LawVector& x, LawVector& gradient)>;

// Walks downhill from `x` until no step lowers the value any more in double precision, or the gradient is below
// 1e-15. Line search: bisection to the weak Wolfe conditions, which also gets along with kinks (Lewis and Overton,
// 2013). Returns the lowest value; x is where it is.
double minimize_bfgs(const Smooth& function, LawVector& x);

}  // namespace nll
