#include "src/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace nll {

double learning_rate(const ScheduleConfig& schedule, double peak, std::int64_t step) {
  const double floor = peak * schedule.final_fraction;
  if (step < schedule.warmup_steps)
    return peak * static_cast<double>(step + 1) / static_cast<double>(schedule.warmup_steps);
  if (schedule.kind == "constant") return peak;
  std::int64_t begin = schedule.warmup_steps;  // steps of full rate end here
  if (schedule.kind == "wsd") {
    const std::int64_t decay =
        schedule.decay_steps > 0 ? schedule.decay_steps : std::max<std::int64_t>(schedule.steps / 5, 1);
    begin = std::max(begin, schedule.steps - decay);
  }
  if (step < begin) return peak;
  if (step + 1 >= schedule.steps) return floor;
  const double progress = static_cast<double>(step + 1 - begin) / static_cast<double>(schedule.steps - begin);
  const double share = schedule.kind == "cosine" ? 0.5 * (1 + std::cos(std::numbers::pi * progress)) : 1 - progress;
  return floor + (peak - floor) * share;
}

}  // namespace nll
