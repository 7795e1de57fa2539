// Group relative policy optimization (Shao et al. 2024) and what differs from it in the ratio alone.
//   grpo   token ratio rho_t = e^(logp - old):  -min(rho A, clip(rho, 1 - eps, 1 + eps_high) A)
//   gspo   sequence ratio rho = e^(mean of logp - old), the same clip (Zheng et al. 2025)
//   cispo  -sg(min(rho_t, cap)) A logp_t                              (MiniMax 2025)
//   + beta k3;   loss = sum over tokens of K_t times that, K_t by settings.aggregation (GroupWeight)
// With one update a rollout every ratio is 1, so that without the KL term the weights are known beforehand.
#include <cmath>

#include "kernels/check.h"
#include "src/objectives/logistic.h"
#include "src/objectives/objective.h"
#include "src/objectives/policy_ratio.h"

namespace nll {

namespace {

enum class Ratio { token, sequence, detached };

class Grpo final : public Objective {
 public:
  Grpo(const ObjectiveSettings& settings, Ratio ratio)
      : Objective(settings),
        settings_(settings.grpo),
        ratio_(ratio),
        range_{settings_.epsilon, settings_.epsilon_high.value_or(settings_.epsilon), settings_.delta} {}

  Needs needs() const override {
    return {
        .records = true, .reference_logp = settings_.beta != 0, .old_logp = !settings_.one_update, .advantages = true};
  }
  bool one_pass() const override { return settings_.one_update && settings_.beta == 0 && lse_is_known(); }

 private:
  void weigh_step(const Step& step, const StepTotals& totals, const StepGradient& out, StepSums& sums) const override {
    const GroupWeight weight(settings_.aggregation, settings_.max_completion_tokens, step, totals.counts);
    ClipReport clips(step);
    Metric capped("cispo_clip_ratio", Metric::Kind::mean);
    for (const Sequence& s : step.sequences()) {
      CHECK((!settings_.one_update || s.old_logp.empty()));
      const double K = weight(s);
      if (ratio_ == Ratio::sequence) {
        add_sequence(s, K, out, sums, clips);
      } else {
        s.completion([&](std::size_t t) {
          ratio_ == Ratio::token ? add_token(s, t, K, out, sums, clips) : add_detached(s, t, K, out, sums, capped);
        });
      }
    }
    if (ratio_ == Ratio::detached) {
      sums.metrics.at(capped.name()) += capped;
    } else {
      clips.write(sums.metrics);
    }
    if (settings_.beta != 0) add_kl(step, weight, out, sums);
  }

  void add_token(const Sequence& s, std::size_t t, double K, const StepGradient& out, StepSums& sums,
                 ClipReport& clips) const {
    const ClippedRatio term = clipped_ratio(std::exp(log_ratio(s, t)), s.advantage, range_);
    out.add(s, t, StepGradient::logp, K * term.derivative);
    if (!s.is_scored()) return;
    sums.loss += K * term.loss;
    clips.add(s, term);
  }

  void add_sequence(const Sequence& s, double K, const StepGradient& out, StepSums& sums, ClipReport& clips) const {
    if (s.tokens == 0) return;
    double total = 0;
    s.completion([&](std::size_t t) { total += log_ratio(s, t); });
    const ClippedRatio term = clipped_ratio(std::exp(total / static_cast<double>(s.tokens)), s.advantage, range_);
    // |y| tokens of weight K share the ratio, each moves it by 1/|y|.
    out.add_completion(s, K * term.derivative);
    if (!s.is_scored()) return;
    sums.loss += K * static_cast<double>(s.tokens) * term.loss;
    clips.add(s, term);
  }

  void add_detached(const Sequence& s, std::size_t t, double K, const StepGradient& out, StepSums& sums,
                    Metric& capped) const {
    const double ratio = std::exp(log_ratio(s, t)), w = std::min(ratio, settings_.ratio_cap) * s.advantage;
    out.add(s, t, StepGradient::logp, -K * w);
    if (!s.is_scored()) return;
    sums.loss -= K * w * static_cast<double>(s.scored.logp[t]);
    capped.add(ratio > settings_.ratio_cap && s.advantage > 0 ? 1 : 0);
  }

  void add_kl(const Step& step, const GroupWeight& weight, const StepGradient& out, StepSums& sums) const {
    Metric& kl = sums.metrics.at("kl");
    for (const Sequence& s : step.sequences()) {
      const double K = weight(s) * settings_.beta;
      s.completion([&](std::size_t t) {
        const KlTerm term = k3_term(static_cast<double>(s.scored.logp[t]), static_cast<double>(s.reference_logp[t]));
        out.add(s, t, StepGradient::logp, K * term.derivative);
        sums.loss += K * term.value;
        kl.add(term.value);
      });
    }
  }

  GrpoSettings settings_;
  Ratio ratio_;
  ClipRange range_;
};

std::unique_ptr<Objective> make(const ObjectiveSettings& settings, Ratio ratio) {
  const GrpoSettings& grpo = settings.grpo;
  if (!(grpo.epsilon > 0) || !(grpo.epsilon_high.value_or(1) > 0)) {
    throw Error(Exit::usage, "objective.grpo: epsilon and epsilon_high must be > 0");
  }
  if (grpo.delta && !(*grpo.delta > 1 + grpo.epsilon_high.value_or(grpo.epsilon))) {
    throw Error(Exit::usage, "objective.grpo.delta: must be > 1 + epsilon_high");
  }
  if (!(grpo.ratio_cap > 0)) throw Error(Exit::usage, "objective.grpo.ratio_cap: must be > 0");
  if (grpo.max_completion_tokens < 1) throw Error(Exit::usage, "objective.grpo.max_completion_tokens: must be >= 1");
  return std::make_unique<Grpo>(settings, ratio);
}

}  // namespace

std::unique_ptr<Objective> make_grpo(const ObjectiveSettings& settings) { return make(settings, Ratio::token); }
std::unique_ptr<Objective> make_gspo(const ObjectiveSettings& settings) { return make(settings, Ratio::sequence); }
std::unique_ptr<Objective> make_cispo(const ObjectiveSettings& settings) { return make(settings, Ratio::detached); }

}  // namespace nll
