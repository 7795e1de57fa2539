// Student's t distribution, for intervals of regression slopes.
#pragma once

namespace nll {

// P(T <= t) with `degrees` > 0 degrees of freedom.
double student_t_probability(double t, double degrees);
// The t with P(T <= t) = `probability`, between 0.5 and 1 (1 excluded).
double student_t_quantile(double probability, double degrees);

}  // namespace nll
