// Preference without a reference, by a margin of the policy's own log-probabilities; plus nll_weight times the negative
// log-likelihood of the chosen tokens.
//   simpo  x = beta (L(y_w)/|y_w| - L(y_l)/|y_l|) - gamma   (Meng et al. 2024)
//   cpo    x = beta (L(y_w) - L(y_l))                       (Xu et al. 2024)
//   loss = -mean log s(x)
#include "kernels/check.h"
#include "src/objectives/logistic.h"
#include "src/objectives/objective.h"
#include "src/objectives/records.h"

namespace nll {

namespace {

class Margin final : public Objective {
 public:
  Margin(const ObjectiveSettings& settings, bool per_token, double beta, double gamma, double nll_weight)
      : Objective(settings), per_token_(per_token), beta_(beta), gamma_(gamma), nll_weight_(nll_weight) {}

  Needs needs() const override { return {.records = true}; }
  bool one_pass() const override { return false; }

 private:
  void weigh_step(const Step& step, const StepTotals& totals, const StepGradient& out, StepSums& sums) const override {
    const double per_record = ratio_or_zero(1, static_cast<double>(totals.counts.records));
    const double per_chosen_token = ratio_or_zero(nll_weight_, static_cast<double>(totals.counts.chosen_tokens));
    PreferenceReport report(sums.metrics);
    Metric& nll = sums.metrics.at("nll_loss");
    for (const Pair& pair : pairs_of(step)) {
      const double chosen_scale = scale(*pair.chosen), rejected_scale = scale(*pair.rejected);
      const double chosen_sum = pair.chosen->logp_sum();
      const double chosen = chosen_sum * chosen_scale, rejected = pair.rejected->logp_sum() * rejected_scale;
      const double x = beta_ * (chosen - rejected) - gamma_;
      const double k = -beta_ * sigmoid(-x) * per_record;
      sums.loss += -log_sigmoid(x) * per_record - chosen_sum * per_chosen_token;
      out.add_completion(*pair.chosen, k * chosen_scale - per_chosen_token);
      out.add_completion(*pair.rejected, -k * rejected_scale);
      nll.add_sum(-chosen_sum, static_cast<double>(pair.chosen->tokens));
      report.add(pair, beta_ * chosen, beta_ * rejected, chosen, rejected);
    }
  }

  double scale(const Sequence& s) const { return per_token_ ? ratio_or_zero(1, static_cast<double>(s.tokens)) : 1.0; }

  bool per_token_;
  double beta_, gamma_, nll_weight_;
};

}  // namespace

std::unique_ptr<Objective> make_simpo(const ObjectiveSettings& settings) {
  const SimpoSettings& simpo = settings.simpo;
  if (!(simpo.beta > 0)) throw Error(Exit::usage, "objective.simpo.beta: must be > 0");
  return std::make_unique<Margin>(settings, true, simpo.beta, simpo.gamma, simpo.nll_weight);
}

std::unique_ptr<Objective> make_cpo(const ObjectiveSettings& settings) {
  const CpoSettings& cpo = settings.cpo;
  if (!(cpo.beta > 0)) throw Error(Exit::usage, "objective.cpo.beta: must be > 0");
  return std::make_unique<Margin>(settings, false, cpo.beta, 0.0, cpo.nll_weight);
}

}  // namespace nll
