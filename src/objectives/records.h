// Records: sequences that are weighed together: a pair, or a positive with its negatives.
#pragma once
#include <span>
#include <vector>

#include "src/objectives/metrics.h"
#include "src/objectives/step.h"

namespace nll {

class Records {
 public:
  // Sequences of roles 0, 1, ..., k in a row are one record; micro-batches may cut it, ranks may not.
  explicit Records(const Step& step);
  std::size_t size() const { return begins_.size(); }
  // Of record i, in the order of roles. The step must live as long.
  std::span<const Sequence* const> operator[](std::size_t i) const;

 private:
  std::vector<const Sequence*> members_;
  std::vector<std::size_t> begins_;
};

struct Pair {
  const Sequence* chosen = nullptr;
  const Sequence* rejected = nullptr;
};
std::vector<Pair> pairs_of(const Step& step);

// The metrics of a preference objective: rewards/{chosen,rejected,margins,accuracies} (accuracy counts strictly larger
// only), logps/{chosen,rejected}, and mean logits where the head told them.
class PreferenceReport {
 public:
  explicit PreferenceReport(Metrics& metrics);
  void add(const Pair& pair, double reward_chosen, double reward_rejected, double logp_chosen, double logp_rejected);

 private:
  Metrics& metrics_;
};
// Adds the logits of the completion, mean over vocabulary and tokens, to `metric`.
void add_mean_logits(const Sequence& s, Metric& metric);

// L(y)/|y|, 0 without tokens.
double logp_mean(const Sequence& s);

}  // namespace nll
