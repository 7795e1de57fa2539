#include "src/eval/breakdown.h"

#include <cmath>

namespace nll {

Breakdown::Breakdown(const TokenLengths& lengths, std::int32_t end_of_text, const std::vector<std::int64_t>& counts)
    : documents_(lengths, end_of_text) {
  if (!counts.empty()) frequencies_.emplace(counts);
}

void Breakdown::add(const ScoredToken& token, std::int64_t seen) {
  const double nll = -token.logp;
  predictions_.push_back({static_cast<float>(std::exp(-token.log_denominator)), token.rank == 1});
  positions_.add(seen, nll);
  documents_.add(token.target, nll);
  if (frequencies_) frequencies_->add(token.target, nll);
}

std::vector<LossBucket> Breakdown::by_frequency() const {
  return frequencies_ ? frequencies_->buckets() : std::vector<LossBucket>{};
}

}  // namespace nll
