// The reliability diagram of a report: is a model right as often as it is sure?
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "src/report/run_record.h"

namespace nll {

// Predictions whose confidence is in one bin, out of a validation event.
struct ReliabilityBin {
  double count = 0, correct = 0, confidence_sum = 0;

  double accuracy() const { return correct / count; }
  double confidence() const { return confidence_sum / count; }
};

struct Reliability {
  std::int64_t step = 0;  // of the validation; -1: none of the run's validations has bins
  std::vector<ReliabilityBin> bins;
};

// The last validation of a run that has bins.
Reliability last_reliability(const RunRecord& run);

// The 95 % interval of Wilson (1927) for `correct` of `count` > 0.
std::pair<double, double> wilson_interval(double correct, double count);

// <figure> elements: the diagram and, below, the share of tokens in each bin. Each point says its numbers. `names`: of
// the runs, as in their legend. Empty when no run has bins.
std::string reliability_figure(const std::vector<Reliability>& runs, const std::vector<std::string>& names);
// The same as tables, one a run.
std::string reliability_tables(const std::vector<Reliability>& runs, const std::vector<std::string>& names);

}  // namespace nll
