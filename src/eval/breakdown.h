// What an evaluation says beyond its means: adaptive calibration, loss by position and frequency, and each document's.
#pragma once
#include <optional>
#include <vector>

#include "src/eval/document_loss.h"
#include "src/eval/loss_bucket.h"
#include "src/eval/score.h"

namespace nll {

// Adds up target tokens in the order of the text, as a TokenObserver. Keeps 8 bytes of each.
class Breakdown {
 public:
  // `counts`: of each id of the vocabulary in the training text; empty: not known.
  Breakdown(const TokenLengths& lengths, std::int32_t end_of_text, const std::vector<std::int64_t>& counts);
  void add(const ScoredToken& token, std::int64_t seen);
  void end_document() { documents_.end_document(); }

  std::vector<CalibrationBin> equal_mass_calibration() const { return equal_mass_bins(predictions_, 15); }
  const std::vector<LossBucket>& by_position() const { return positions_.buckets(); }
  std::vector<LossBucket> by_frequency() const;  // empty where counts are not known
  std::vector<DocumentLoss> documents() const { return documents_.documents(); }

 private:
  std::vector<Prediction> predictions_;
  PositionLosses positions_;
  DocumentLosses documents_;
  std::optional<FrequencyLosses> frequencies_;
};

}  // namespace nll
