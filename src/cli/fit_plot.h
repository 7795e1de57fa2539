// The picture of nll fit --plot: what is drawn of runs and of a law.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "src/eval/scaling_law.h"
#include "src/report/scaling_plot.h"

namespace nll {

// A law and the laws of its resamples.
struct FittedLaw {
  HoffmannLaw law;
  std::vector<HoffmannLaw> resampled;
};

// Runs by their number of parameters; with a law its course for each over all runs' tokens, and the best of all sizes
// over all runs' compute with its interval.
ScalingPlot scaling_plot(std::span<const ScalingRun> runs, const std::vector<std::string>& names,
                         const std::optional<FittedLaw>& fitted);

}  // namespace nll
