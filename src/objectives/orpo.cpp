// Odds ratio preference optimization (Hong et al. 2024): the likelihood of the chosen answer plus a log odds ratio.
//   a = L(y)/|y|;  lo = (a_w - a_l) - (log(1-e^a_w) - log(1-e^a_l));  loss = nll(chosen) - beta mean log s(lo)
//   d lo / d logp_t = 1/(|y_w| (1-e^a_w)) of a chosen token, -1/(|y_l| (1-e^a_l)) of a rejected one
#include "kernels/check.h"
#include "src/objectives/logistic.h"
#include "src/objectives/objective.h"
#include "src/objectives/records.h"

namespace nll {

namespace {

class Orpo final : public Objective {
 public:
  explicit Orpo(const ObjectiveSettings& settings) : Objective(settings), settings_(settings.orpo) {}

  Needs needs() const override { return {.records = true}; }
  bool one_pass() const override { return false; }

 private:
  void weigh_step(const Step& step, const StepTotals& totals, const StepGradient& out, StepSums& sums) const override {
    const StepCounts& counts = totals.counts;
    const double beta = settings_.beta, per_record = ratio_or_zero(1, static_cast<double>(counts.records));
    const std::int64_t nll_tokens = counts.chosen_tokens + (settings_.nll_on_prompt ? counts.chosen_prompt_tokens : 0);
    const double per_token = ratio_or_zero(1, static_cast<double>(nll_tokens));
    PreferenceReport report(sums.metrics);
    for (const char* name : {"nll_loss", "log_odds_ratio", "log_odds_chosen"}) sums.metrics.at(name);
    for (const Pair& pair : pairs_of(step)) {
      add_likelihood(*pair.chosen, per_token, out, sums);
      const double chosen = logp_mean(*pair.chosen), rejected = logp_mean(*pair.rejected);
      const double a_w = below_certainty(chosen), a_l = below_certainty(rejected);
      const double log_odds = (a_w - a_l) - (log1mexp(a_w) - log1mexp(a_l));
      const double k = beta * per_record * sigmoid(-log_odds);
      sums.loss -= beta * per_record * log_sigmoid(log_odds);
      out.add_completion(*pair.chosen, -k / -std::expm1(a_w) / static_cast<double>(pair.chosen->tokens));
      out.add_completion(*pair.rejected, k / -std::expm1(a_l) / static_cast<double>(pair.rejected->tokens));
      sums.metrics.at("log_odds_ratio").add(log_sigmoid(log_odds));
      sums.metrics.at("log_odds_chosen").add(log_odds);
      report.add(pair, beta * chosen, beta * rejected, chosen, rejected);
    }
  }

  void add_likelihood(const Sequence& s, double per_token, const StepGradient& out, StepSums& sums) const {
    Metric& nll = sums.metrics.at("nll_loss");
    const auto add = [&](std::size_t t) {
      const double logp = static_cast<double>(s.scored.logp[t]);
      sums.loss -= per_token * logp;
      out.add(s, t, StepGradient::logp, -per_token);
      nll.add(-logp);
    };
    if (settings_.nll_on_prompt) s.prompt(add);
    s.completion(add);
  }

  OrpoSettings settings_;
};

}  // namespace

std::unique_ptr<Objective> make_orpo(const ObjectiveSettings& settings) {
  if (!(settings.orpo.beta >= 0)) throw Error(Exit::usage, "objective.orpo.beta: must be >= 0");
  return std::make_unique<Orpo>(settings);
}

}  // namespace nll
