// Supervised fine-tuning: weighted cross-entropy over the targets that count (the mask is the targets themselves).
//   nll           -w logp, label-smoothed as in language.cpp         w = 1/N, or 1/(B |y|) by sequences
//   dft           -w sg(p) logp              d/dlogp = -w p          (dynamic fine-tuning, Wu et al. 2025)
//   unlikelihood  -w log(1 - p)              d/dlogp = w p/(1 - p)   (Welleck et al. 2020)
#include "kernels/check.h"
#include "src/objectives/logistic.h"
#include "src/objectives/objective.h"

namespace nll {

namespace {

class Supervised final : public Objective {
 public:
  explicit Supervised(const ObjectiveSettings& settings)
      : Objective(settings), settings_(settings.sft), smoothing_(settings.label_smoothing) {}

  Needs needs() const override { return {}; }
  bool one_pass() const override { return settings_.loss == SupervisedLoss::nll && lse_is_known(); }

 private:
  void weigh_step(const Step& step, const StepTotals& totals, const StepGradient& out, StepSums& sums) const override {
    for (const Sequence& s : step.sequences()) {
      const double w = weight(s, totals.counts);
      s.everything([&](std::size_t t) {
        if (settings_.loss == SupervisedLoss::nll) {
          out.add(s, t, StepGradient::logp, -w * (1 - smoothing_));
          if (smoothing_ != 0) out.add(s, t, StepGradient::uniform, -w * smoothing_);
          if (!s.is_scored()) return;
          sums.loss -= w * (1 - smoothing_) * static_cast<double>(s.scored.logp[t]);
          if (smoothing_ != 0) sums.loss -= w * smoothing_ * static_cast<double>(s.scored.mean_logp[t]);
          return;
        }
        const double logp = static_cast<double>(s.scored.logp[t]), p = std::exp(logp);
        if (settings_.loss == SupervisedLoss::dft) {
          out.add(s, t, StepGradient::logp, -w * p);
          sums.loss -= w * p * logp;
        } else {
          const double a = below_certainty(logp);
          out.add(s, t, StepGradient::logp, w * std::exp(a) / -std::expm1(a));
          sums.loss -= w * log1mexp(a);
        }
      });
    }
  }

  double weight(const Sequence& s, const StepCounts& counts) const {
    if (settings_.reduction == Reduction::token_mean) return ratio_or_zero(1, static_cast<double>(counts.tokens));
    return ratio_or_zero(1, static_cast<double>(counts.scored_sequences) * static_cast<double>(s.valid));
  }

  SupervisedSettings settings_;
  double smoothing_;
};

}  // namespace

std::unique_ptr<Objective> make_sft(const ObjectiveSettings& settings) {
  if (settings.label_smoothing != 0 && settings.sft.loss != SupervisedLoss::nll) {
    throw Error(Exit::usage, "objective.label_smoothing: only for the loss nll", "set objective.label_smoothing to 0");
  }
  return std::make_unique<Supervised>(settings);
}

}  // namespace nll
