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
  explicit Language(const ObjectiveSettings& settings)
      : Objective(settings), smoothing_(settings.label_smoothing), z_loss_(settings.z_loss) {}

  Needs needs() const override { return {}; }
  bool one_pass() const override { return lse_is_known(); }

  void coefficients(const Batch& batch, const ScoredTokens& scored, std::int64_t normaliser,
                    std::span<float> out) const override {
    const double weight = normaliser > 0 ? 1.0 / static_cast<double>(normaliser) : 0.0;
    for (std::size_t i = 0; i < batch.targets.size(); ++i) {
      float* g = &out[4 * i];
      const bool valid = batch.targets[i] >= 0;
      const double lse = z_loss_ == 0 ? 0.0 : static_cast<double>(scored.maximum[i]) + scored.log_denominator[i];
      g[0] = valid ? static_cast<float>(-weight * (1 - smoothing_)) : 0.0f;
      g[1] = valid ? static_cast<float>(2 * z_loss_ * weight * lse) : 0.0f;
      g[2] = valid ? static_cast<float>(-weight * smoothing_) : 0.0f;
      g[3] = 0.0f;
    }
  }

  ObjectiveSums sums(const ScoredTokens& scored) const override {
    ObjectiveSums s;
    for (std::size_t i = 0; i < scored.targets.size(); ++i) {
      if (scored.targets[i] < 0) continue;
      const double nll = -static_cast<double>(scored.logp[i]);
      const double lse = static_cast<double>(scored.maximum[i]) + scored.log_denominator[i];
      s.tokens += 1;
      s.correct += scored.argmax[i] == scored.targets[i] ? 1 : 0;
      s.nll += nll;
      s.objective += (1 - smoothing_) * nll - smoothing_ * scored.mean_logp[i] + z_loss_ * lse * lse;
      s.entropy += scored.entropy[i];
    }
    return s;
  }

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

  double smoothing_, z_loss_;
};

}  // namespace

std::unique_ptr<Objective> make_language(const ObjectiveSettings& settings) {
  return std::make_unique<Language>(settings);
}

}  // namespace nll
