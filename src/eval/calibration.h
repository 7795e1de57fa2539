// Calibration: does the model's confidence equal its rate of being right? Definitions: docs/evaluation.md.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace nll {

// Predictions whose confidence lies in (b / M, (b + 1) / M] of M bins.
struct CalibrationBin {
  std::int64_t count = 0, correct = 0;
  double confidence_sum = 0;

  double accuracy() const { return count == 0 ? 0 : static_cast<double>(correct) / static_cast<double>(count); }
  double confidence() const { return count == 0 ? 0 : confidence_sum / static_cast<double>(count); }
};

// clamp(ceil(confidence * bins) - 1, 0, bins - 1): 0 is in the first bin, 1 in the last.
std::size_t calibration_bin(double confidence, std::size_t bins);

void add_prediction(std::span<CalibrationBin> bins, double confidence, bool correct);

struct CalibrationError {
  double ece = 0;     // expected: mean over predictions of |accuracy - confidence| of their bin
  double mce = 0;     // maximum over bins
  double rms_ce = 0;  // root of the mean square over predictions
};
CalibrationError calibration_error(std::span<const CalibrationBin> bins);

struct Prediction {
  float confidence = 0;
  bool correct = false;
};
// Adaptive bins: the predictions in the order of their confidence, equal ones in the order given, cut into `bins` parts
// of equal count (bin b ends before prediction floor((b + 1) n / bins)). Fewer predictions than bins leave bins empty.
// calibration_error() of them is the adaptive error (Nixon et al., 2019).
std::vector<CalibrationBin> equal_mass_bins(std::vector<Prediction> predictions, std::size_t bins);

}  // namespace nll
