// REINFORCE leave-one-out (Ahmadian et al. 2024): one ratio a completion, mean over completions.
//   rho = e^(sum of logp - old);  -min(rho A, clip(rho) A);  d/dlogp_t = -A rho / B, 0 where clipped
// The KL penalty is part of the reward (leave_one_out in advantages.h).
#include <cmath>

#include "kernels/check.h"
#include "src/objectives/logistic.h"
#include "src/objectives/objective.h"
#include "src/objectives/policy_ratio.h"

namespace nll {

namespace {

class Rloo final : public Objective {
 public:
  explicit Rloo(const ObjectiveSettings& settings)
      : Objective(settings),
        one_update_(settings.rloo.one_update),
        range_{settings.rloo.epsilon, settings.rloo.epsilon_high.value_or(settings.rloo.epsilon), std::nullopt} {}

  Needs needs() const override { return {.records = true, .old_logp = !one_update_, .advantages = true}; }
  bool one_pass() const override { return one_update_ && lse_is_known(); }

 private:
  void weigh_step(const Step& step, const StepTotals& totals, const StepGradient& out, StepSums& sums) const override {
    const double per_sequence = ratio_or_zero(1, static_cast<double>(totals.counts.sequences));
    ClipReport clips(step);
    for (const Sequence& s : step.sequences()) {
      CHECK((!one_update_ || s.old_logp.empty()));
      double total = 0;
      s.completion([&](std::size_t t) { total += log_ratio(s, t); });
      const ClippedRatio term = clipped_ratio(std::exp(total), s.advantage, range_);
      out.add_completion(s, term.derivative * per_sequence);
      if (!s.is_scored()) continue;
      sums.loss += term.loss * per_sequence;
      clips.add(s, term);
    }
    clips.write(sums.metrics);
  }

  bool one_update_;
  ClipRange range_;
};

}  // namespace

std::unique_ptr<Objective> make_rloo(const ObjectiveSettings& settings) {
  if (!(settings.rloo.epsilon > 0) || !(settings.rloo.epsilon_high.value_or(1) > 0)) {
    throw Error(Exit::usage, "objective.rloo: epsilon and epsilon_high must be > 0");
  }
  return std::make_unique<Rloo>(settings);
}

}  // namespace nll
