#include "src/eval/calibration.h"

#include <algorithm>
#include <cmath>

namespace nll {

std::size_t calibration_bin(double confidence, std::size_t bins) {
  if (!(confidence > 0)) return 0;  // a confidence that is not a number, too
  if (confidence >= 1) return bins - 1;
  const double upper_edge = std::ceil(confidence * static_cast<double>(bins));
  return std::min(bins - 1, static_cast<std::size_t>(std::max(upper_edge - 1, 0.0)));
}

void add_prediction(std::span<CalibrationBin> bins, double confidence, bool correct) {
  CalibrationBin& bin = bins[calibration_bin(confidence, bins.size())];
  ++bin.count;
  bin.correct += correct ? 1 : 0;
  bin.confidence_sum += confidence;
}

CalibrationError calibration_error(std::span<const CalibrationBin> bins) {
  CalibrationError error;
  std::int64_t count = 0;
  for (const CalibrationBin& bin : bins) count += bin.count;
  if (count == 0) return error;
  double squares = 0;
  for (const CalibrationBin& bin : bins) {
    if (bin.count == 0) continue;
    const double gap = std::abs(bin.accuracy() - bin.confidence());
    const double share = static_cast<double>(bin.count) / static_cast<double>(count);
    error.ece += share * gap;
    error.mce = std::max(error.mce, gap);
    squares += share * gap * gap;
  }
  error.rms_ce = std::sqrt(squares);
  return error;
}

std::vector<CalibrationBin> equal_mass_bins(std::vector<Prediction> predictions, std::size_t bins) {
  std::stable_sort(predictions.begin(), predictions.end(),
                   [](const Prediction& a, const Prediction& b) { return a.confidence < b.confidence; });
  std::vector<CalibrationBin> made(bins);
  std::size_t i = 0;
  for (std::size_t b = 0; b < bins; ++b) {
    for (const std::size_t end = (b + 1) * predictions.size() / bins; i < end; ++i) {
      ++made[b].count;
      made[b].correct += predictions[i].correct ? 1 : 0;
      made[b].confidence_sum += static_cast<double>(predictions[i].confidence);
    }
  }
  return made;
}

}  // namespace nll
