// Direct preference optimization and its family.
//   r = L(y) - Lref(y);  D = r_chosen - r_rejected, or the difference of r/|y|;  loss = (1/B) sum f(D)
//   sigmoid       -(1-eps) log s(beta D) - eps log s(-beta D)               eps > 0: conservative DPO
//   robust        [-(1-eps) log s(beta D) + eps log s(-beta D)] / (1-2eps)  (Chowdhury et al. 2024)
//   hinge         max(0, 1 - beta D)                                        (SLiC)
//   ipo, ipo_sum  (D - 1/(2 beta))^2, per token or summed                   (Azar et al. 2023)
//   sigmoid_norm  sigmoid per token
//   sft           -logp, mean over chosen tokens
#include <algorithm>

#include "kernels/check.h"
#include "src/objectives/logistic.h"
#include "src/objectives/objective.h"
#include "src/objectives/records.h"

namespace nll {

namespace {

bool per_token(PairLoss loss) { return loss == PairLoss::ipo || loss == PairLoss::sigmoid_norm; }

struct Term {
  double f = 0, derivative = 0;
};

class Dpo final : public Objective {
 public:
  explicit Dpo(const ObjectiveSettings& settings) : Objective(settings), settings_(settings.dpo) {}

  Needs needs() const override { return {.records = true, .reference_sums = true}; }
  bool one_pass() const override { return false; }

 private:
  void weigh_step(const Step& step, const StepTotals& totals, const StepGradient& out, StepSums& sums) const override {
    const double per_record = ratio_or_zero(1, static_cast<double>(totals.counts.records));
    const double per_chosen_token = ratio_or_zero(1, static_cast<double>(totals.counts.chosen_tokens));
    PreferenceReport report(sums.metrics);
    for (const Pair& pair : pairs_of(step)) {
      const double logp_chosen = pair.chosen->logp_sum(), logp_rejected = pair.rejected->logp_sum();
      const double chosen = logp_chosen - pair.chosen->reference_sum();
      const double rejected = logp_rejected - pair.rejected->reference_sum();
      for (const auto& [loss, weight] : settings_.losses) {
        if (loss == PairLoss::sft) {
          sums.loss -= weight * logp_chosen * per_chosen_token;
          out.add_completion(*pair.chosen, -weight * per_chosen_token);
          continue;
        }
        const double chosen_scale = scale(loss, *pair.chosen), rejected_scale = scale(loss, *pair.rejected);
        const Term term = of(loss, chosen * chosen_scale - rejected * rejected_scale);
        const double k = weight * term.derivative * per_record;
        sums.loss += weight * term.f * per_record;
        out.add_completion(*pair.chosen, k * chosen_scale);
        out.add_completion(*pair.rejected, -k * rejected_scale);
      }
      report.add(pair, settings_.beta * chosen, settings_.beta * rejected, logp_chosen, logp_rejected);
    }
  }

  static double scale(PairLoss loss, const Sequence& s) {
    return per_token(loss) ? ratio_or_zero(1, static_cast<double>(s.tokens)) : 1.0;
  }

  Term of(PairLoss loss, double delta) const {
    const double beta = settings_.beta, eps = settings_.label_smoothing, x = beta * delta;
    switch (loss) {
      case PairLoss::sigmoid:
        if (eps == 0) return {-log_sigmoid(x), -beta * sigmoid(-x)};
        return {-(1 - eps) * log_sigmoid(x) - eps * log_sigmoid(-x), beta * (sigmoid(x) - (1 - eps))};
      case PairLoss::robust:
        return {(-(1 - eps) * log_sigmoid(x) + eps * log_sigmoid(-x)) / (1 - 2 * eps),
                -beta * ((1 - eps) * sigmoid(-x) + eps * sigmoid(x)) / (1 - 2 * eps)};
      case PairLoss::hinge:
        return {std::max(0.0, 1 - x), x < 1 ? -beta : 0.0};
      case PairLoss::ipo:
      case PairLoss::ipo_sum: {
        const double miss = delta - 1 / (2 * beta);
        return {miss * miss, 2 * miss};
      }
      case PairLoss::sigmoid_norm:
        return {-log_sigmoid(x), -beta * sigmoid(-x)};
      case PairLoss::sft:
        break;
    }
    CHECK(!"a loss of pairs");
    return {};
  }

  DpoSettings settings_;
};

}  // namespace

std::unique_ptr<Objective> make_dpo(const ObjectiveSettings& settings) {
  const DpoSettings& dpo = settings.dpo;
  if (!(dpo.beta > 0)) throw Error(Exit::usage, "objective.dpo.beta: must be > 0");
  if (dpo.losses.empty()) throw Error(Exit::usage, "objective.dpo.losses: empty (at least one loss)");
  const bool robust = std::any_of(dpo.losses.begin(), dpo.losses.end(),
                                  [](const WeightedPairLoss& l) { return l.loss == PairLoss::robust; });
  if (!(dpo.label_smoothing >= 0 && dpo.label_smoothing < (robust ? 0.5 : 1.0))) {
    throw Error(Exit::usage, std::string("objective.dpo.label_smoothing: must be >= 0 and < ") +
                                 (robust ? "0.5 with the loss robust" : "1"));
  }
  return std::make_unique<Dpo>(settings);
}

}  // namespace nll
