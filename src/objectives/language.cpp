// Language modelling: mean over valid tokens of (1 - eps) (-logp) + eps (-mean_logp) + z_loss lse^2. With z_loss the
// coefficient of lse depends on lse itself, so that case scores first. Label smoothing: Szegedy et al. 2016 (q = (1 -
// eps) onehot + eps / V); z-loss: Chowdhery et al. 2022.
#include "kernels/check.h"
#include "src/objectives/logistic.h"
#include "src/objectives/objective.h"

namespace nll {

namespace {

class Language final : public Objective {
 public:
  explicit Language(const ObjectiveSettings& settings) : Objective(settings), smoothing_(settings.label_smoothing) {}

  Needs needs() const override { return {}; }
  bool one_pass() const override { return lse_is_known(); }

 private:
  void weigh_step(const Step& step, const StepTotals& totals, const StepGradient& out, StepSums& sums) const override {
    const double weight = ratio_or_zero(1, static_cast<double>(totals.counts.tokens));
    for (const Sequence& s : step.sequences()) {
      s.everything([&](std::size_t t) {
        out.add(s, t, StepGradient::logp, -weight * (1 - smoothing_));
        if (smoothing_ != 0) out.add(s, t, StepGradient::uniform, -weight * smoothing_);
        if (!s.is_scored()) return;
        sums.loss -= weight * (1 - smoothing_) * static_cast<double>(s.scored.logp[t]);
        if (smoothing_ != 0) sums.loss -= weight * smoothing_ * static_cast<double>(s.scored.mean_logp[t]);
      });
    }
  }

  double smoothing_;
};

}  // namespace

std::unique_ptr<Objective> make_language(const ObjectiveSettings& settings) {
  return std::make_unique<Language>(settings);
}

}  // namespace nll
