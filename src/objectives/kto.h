// What Kahneman-Tversky optimization needs of a batch before it is weighed.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "src/objectives/settings.h"
#include "src/text/batch.h"

namespace nll {

// The row whose completion is put behind the prompt of each row, for z0: the one before it in the micro-batch, the
// first row taking the last. None for fillers, and where a micro-batch has only one record. Throws Error(usage) where
// it could never have two.
std::vector<std::optional<std::size_t>> mismatched_rows(const Batch& batch);

// (desirable weight x desirable records) / (undesirable weight x undesirable records), which should lie in [1, 4/3],
// and the desirable weights at which it would. None where a class is missing.
struct KtoBalance {
  double ratio = 0;
  double least_desirable_weight = 0, most_desirable_weight = 0;
  bool good() const { return ratio >= 1 && ratio <= 4.0 / 3; }
};
std::optional<KtoBalance> kto_balance(std::int64_t desirable, std::int64_t undesirable, const KtoSettings& settings);

}  // namespace nll
