// Policy gradients on sampled completions, without ratios.
//   reinforce  -(1/N) sum (R_t - b_t) logp_t, the factor without a gradient     (Williams 1992)
//   mixer      the first `gold_tokens` of a completion by cross-entropy, the rest so   (Ranzato et al. 2016)
// R_t are the returns. b_t is 0, or the scalar head's value, which learns the returns by their squared error: that is
// no part of the loss, and its gradient has a learning rate of its own.
#include "src/objectives/reinforce.h"

#include <algorithm>

#include "kernels/check.h"
#include "src/objectives/logistic.h"
#include "src/objectives/objective.h"

namespace nll {

namespace {

class Reinforce final : public Objective {
 public:
  Reinforce(const ObjectiveSettings& settings, bool mixed)
      : Objective(settings), learned_(settings.reinforce.learned_baseline), mixed_(mixed) {}

  Needs needs() const override { return {.records = true, .values = learned_, .returns = true}; }
  bool one_pass() const override { return !learned_ && lse_is_known(); }

 private:
  void weigh_step(const Step& step, const StepTotals& totals, const StepGradient& out, StepSums& sums) const override {
    const double weight = ratio_or_zero(1, static_cast<double>(totals.counts.completion_tokens));
    Metric mean("returns", Metric::Kind::mean), spread("advantages/variance", Metric::Kind::variance);
    Metric miss("loss/baseline", Metric::Kind::mean), gold_nll("xent", Metric::Kind::mean);
    for (const Sequence& s : step.sequences()) {
      const std::size_t gold_end = s.begin + (mixed_ ? static_cast<std::size_t>(step.gold_tokens()) : 0);
      s.completion([&](std::size_t t) {
        const double logp = s.is_scored() ? static_cast<double>(s.scored.logp[t]) : 0.0;
        if (t < gold_end) {
          out.add(s, t, StepGradient::logp, -weight);
          sums.loss -= weight * logp;
          if (s.is_scored()) gold_nll.add(-logp);
          return;
        }
        const double value = learned_ ? static_cast<double>(s.values[t]) : 0.0, advantage = s.returns[t] - value;
        out.add(s, t, StepGradient::logp, -weight * advantage);
        sums.loss -= weight * advantage * logp;
        if (learned_) out.add_value(s, t, -2 * weight * advantage);
        if (!s.is_scored()) return;
        mean.add(s.returns[t]);
        spread.add(advantage);
        if (learned_) miss.add(advantage * advantage);
      });
    }
    for (const Metric* metric : {&mean, &spread, &miss, &gold_nll}) {
      sums.metrics.at(metric->name(), metric->kind()) += *metric;
    }
  }

  bool learned_, mixed_;
};

}  // namespace

std::int64_t mixer_gold_tokens(std::int64_t length, std::int64_t block, std::int64_t shift) {
  return std::max<std::int64_t>(0, length - block * shift);
}

std::unique_ptr<Objective> make_reinforce(const ObjectiveSettings& settings) {
  return std::make_unique<Reinforce>(settings, false);
}

std::unique_ptr<Objective> make_mixer(const ObjectiveSettings& settings) {
  return std::make_unique<Reinforce>(settings, true);
}

}  // namespace nll
