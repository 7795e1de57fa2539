// The loss of each document and, from them, how sure the mean over a text is. docs/evaluation.md.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "src/eval/evaluate.h"

namespace nll {

struct DocumentLoss {
  std::int64_t tokens = 0, bytes = 0;
  double nll = 0;
  double text_nll = 0;  // special targets left out
};

// Adds up targets in the order of the text. A document ends with an end-of-text target, or where end_document() says.
class DocumentLosses {
 public:
  // end_of_text: -1 where the tokenizer has none.
  DocumentLosses(const TokenLengths& lengths, std::int32_t end_of_text)
      : lengths_(lengths), end_of_text_(end_of_text) {}
  void add(std::int32_t target, double nll);
  void end_document();
  // An open document counts as if it ended here.
  std::vector<DocumentLoss> documents() const;

 private:
  const TokenLengths& lengths_;
  std::int32_t end_of_text_;
  std::vector<DocumentLoss> ended_;
  DocumentLoss open_;
};

struct Interval {
  double low = 0, high = 0;
};
// Between the 2.5th and the 97.5th percentile of resampled values, each on the line between its two neighbours.
Interval middle_95(std::vector<double> values);

struct BootstrapIntervals {
  Interval loss;                          // nats per token
  std::optional<Interval> bits_per_byte;  // where the documents have bytes
};

// 95 % percentile intervals of the mean loss and of bits per byte out of `resamples` draws of as many documents with
// replacement (Efron, 1979): draw i of resample r is word i % 4 of philox(seed, r, i / 4), scaled to the number of
// documents. Nothing for fewer than two documents, and nothing where `progress(done, resamples)` says false.
std::optional<BootstrapIntervals> bootstrap_intervals(const std::vector<DocumentLoss>& documents, std::uint64_t seed,
                                                      std::int64_t resamples,
                                                      const std::function<bool(std::int64_t, std::int64_t)>& progress);

}  // namespace nll
