// The ratio of the policy to the one that sampled, clipped, and what groups of completions are divided by.
#pragma once
#include <optional>
#include <vector>

#include "src/objectives/metrics.h"
#include "src/objectives/settings.h"
#include "src/objectives/step.h"

namespace nll {

struct ClipRange {
  double below = 0.2, above = 0.2;  // the ratio is kept in [1 - below, 1 + above]
  std::optional<double> delta;      // and, where the advantage is negative, at most this
};
struct ClippedRatio {
  double loss = 0;        // -min(ratio A, clip(ratio) A)
  double derivative = 0;  // of it by log(ratio): -ratio A, or 0 where the clipped side is taken
  bool low = false;       // A < 0 and the ratio is below the range
  bool high = false;      // A > 0 and it is above
};
ClippedRatio clipped_ratio(double ratio, double advantage, const ClipRange& range);

// logp - old_logp of position t; 0 where there is no old policy, or no score yet.
double log_ratio(const Sequence& s, std::size_t t);

// k3 = e^d - d - 1, d = reference - policy: an estimate of KL(policy, reference) that is never negative; and its
// derivative by the policy's log-probability.
struct KlTerm {
  double value = 0, derivative = 0;
};
KlTerm k3_term(double policy_logp, double reference_logp);

// K_t: what each token of a completion weighs in a loss that groups share.
class GroupWeight {
 public:
  GroupWeight(GroupAggregation aggregation, std::int64_t max_completion_tokens, const Step& step,
              const StepCounts& counts);
  double operator()(const Sequence& s) const;

 private:
  GroupAggregation aggregation_;
  double max_completion_tokens_;
  StepCounts counts_;
  std::vector<double> micro_batch_tokens_;
};

// clip_ratio/{low_mean,low_min,high_mean,high_max,region_mean}: shares of tokens (or sequences), the extremes over
// micro-batches.
class ClipReport {
 public:
  explicit ClipReport(const Step& step) : parts_(step.micro_batches()) {}
  void add(const Sequence& s, const ClippedRatio& ratio);
  void write(Metrics& metrics) const;

 private:
  struct Part {
    double low = 0, high = 0, all = 0;
  };
  std::vector<Part> parts_;
};

}  // namespace nll
