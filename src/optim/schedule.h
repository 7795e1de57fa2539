// The learning rate of each optimizer step: linear warm-up, then cosine, linear, constant or warm-up-stable-decay.
#pragma once
#include <cstdint>

#include "src/config/config.h"

namespace nll {

// Learning rate of update `step`, 0 <= step < schedule.steps. The warm-up reaches the peak at its last step, and the
// last step of the run has exactly peak * final_fraction (constant: the peak).
double learning_rate(const ScheduleConfig& schedule, double peak, std::int64_t step);

}  // namespace nll
