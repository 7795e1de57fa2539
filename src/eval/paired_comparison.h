// Two models on the same documents: who is better, and how sure is that? docs/evaluation.md.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "src/eval/document_loss.h"

namespace nll {

// A difference is the first model's value less the second's: below 0 the first is better.
struct PairedDifference {
  double value = 0;                    // of the whole text
  std::optional<Interval> interval;    // 95 %; none: fewer than two documents
  std::vector<double> documents;       // of each document that has the unit
  std::int64_t better = 0, equal = 0;  // documents where the first is better, and where neither is
  double share_better() const;         // of the documents that have the unit
};

struct PairedComparison {
  std::int64_t documents = 0, bytes = 0;
  std::optional<PairedDifference> loss;           // nats per token; only where the tokens are the same
  std::optional<PairedDifference> bits_per_byte;  // where the documents have bytes
};

// Whether the documents of both are the same text, as far as numbers can say: as many documents, with the same bytes
// and, with `same_tokens`, the same count of tokens each. Empty, or what differs first ("document 3 has ...").
std::string documents_differ(const std::vector<DocumentLoss>& first, const std::vector<DocumentLoss>& second,
                             bool same_tokens);

// Documents that do not differ. The paired bootstrap draws documents with replacement and both losses of each together,
// by the numbers of bootstrap_intervals(). `same_tokens`: both models predicted the same tokens; otherwise only bytes
// compare. Nothing where `progress(done, resamples)` says false.
std::optional<PairedComparison> compare_documents(const std::vector<DocumentLoss>& first,
                                                  const std::vector<DocumentLoss>& second, bool same_tokens,
                                                  std::uint64_t seed, std::int64_t resamples,
                                                  const std::function<bool(std::int64_t, std::int64_t)>& progress = {});

}  // namespace nll
