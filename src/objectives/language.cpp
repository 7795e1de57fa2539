// Language modelling: mean over valid tokens of (1 - eps) (-logp) + eps (-mean_logp) + z_loss lse^2. With z_loss the
// coefficient of lse depends on lse itself, so that case scores first. Label smoothing: Szegedy et al. 2016 (q = (1 -
// eps) onehot + eps / V); z-loss: Chowdhery et al. 2022.
#include "src/objectives/objective.h"

#include "kernels/check.h"

namespace nll {

namespace {

class Language final : public Objective {
 public:
  explicit Language(const ObjectiveConfig& config) : smoothing_(config.label_smoothing), z_loss_(config.z_loss) {}

  bool one_pass() const override { return z_loss_ == 0; }

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
  double smoothing_, z_loss_;
};

}  // namespace

ObjectiveSums& ObjectiveSums::operator+=(const ObjectiveSums& other) {
  tokens += other.tokens;
  correct += other.correct;
  nll += other.nll;
  objective += other.objective;
  entropy += other.entropy;
  return *this;
}

// THE TABLE: one row an objective.
std::unique_ptr<Objective> make_objective(const ObjectiveConfig& config) {
  if (config.kind == "language") return std::make_unique<Language>(config);
  throw Error(Exit::usage, "objective.kind: unknown objective \"" + config.kind + "\" (language)");
}

}  // namespace nll
