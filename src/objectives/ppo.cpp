// Proximal policy optimization (Schulman et al. 2017), means over the N completion tokens of the step.
//   policy  max(-A rho, -A clip(rho, 1 - eps, 1 + eps)), rho = e^(logp - old);  d/dlogp = -A rho, 0 where clipped
//   value   0.5 max((V - R)^2, (clip(V, Vold - eps_v, Vold + eps_v) - R)^2);    d/dV = V - R, 0 where clipped is larger
//   loss = policy + value_coefficient value
#include <algorithm>
#include <cmath>

#include "kernels/check.h"
#include "src/objectives/logistic.h"
#include "src/objectives/objective.h"
#include "src/objectives/policy_ratio.h"

namespace nll {

namespace {

class Ppo final : public Objective {
 public:
  explicit Ppo(const ObjectiveSettings& settings) : Objective(settings), settings_(settings.ppo) {}

  Needs needs() const override {
    return {.records = true,
            .values = settings_.learn_values,
            .old_logp = true,
            .old_values = settings_.learn_values,
            .token_advantages = true,
            .returns = settings_.learn_values};
  }
  bool one_pass() const override { return false; }

 private:
  void weigh_step(const Step& step, const StepTotals& totals, const StepGradient& out, StepSums& sums) const override {
    const double weight = ratio_or_zero(1, static_cast<double>(totals.counts.completion_tokens));
    const ClipRange range{settings_.clip_range, settings_.clip_range, std::nullopt};
    Metric policy("loss/policy_avg", Metric::Kind::mean), value("loss/value_avg", Metric::Kind::mean);
    Metric clipped("policy/clipfrac_avg", Metric::Kind::mean), kl("policy/approxkl_avg", Metric::Kind::mean);
    Metric entropy("policy/entropy_avg", Metric::Kind::mean), value_clipped("val/clipfrac_avg", Metric::Kind::mean);
    Metric ratios("val/ratio", Metric::Kind::mean), spread("val/ratio_var", Metric::Kind::variance);
    for (const Sequence& s : step.sequences()) {
      s.completion([&](std::size_t t) {
        const double d = log_ratio(s, t), ratio = std::exp(d);
        const ClippedRatio term = clipped_ratio(ratio, s.token_advantages[t], range);
        out.add(s, t, StepGradient::logp, term.derivative * weight);
        sums.loss += term.loss * weight;
        policy.add(term.loss);
        clipped.add(term.low || term.high ? 1 : 0);
        kl.add(0.5 * d * d);
        ratios.add(ratio);
        spread.add(ratio);
        if (!s.scored.entropy.empty()) entropy.add(static_cast<double>(s.scored.entropy[t]));
        if (settings_.learn_values)
          learn_value(s, t, weight * settings_.value_coefficient, out, sums, value, value_clipped);
      });
    }
    for (const Metric* metric : {&policy, &value, &clipped, &kl, &entropy, &value_clipped, &ratios, &spread}) {
      sums.metrics.at(metric->name(), metric->kind()) += *metric;
    }
  }

  void learn_value(const Sequence& s, std::size_t t, double weight, const StepGradient& out, StepSums& sums,
                   Metric& loss, Metric& clipped) const {
    const double v = static_cast<double>(s.values[t]), old = static_cast<double>(s.old_values[t]);
    const double near = std::clamp(v, old - settings_.value_clip_range, old + settings_.value_clip_range);
    const double miss = v - s.returns[t], near_miss = near - s.returns[t];
    const bool is_clipped = near_miss * near_miss > miss * miss;
    const double term = 0.5 * (is_clipped ? near_miss * near_miss : miss * miss);
    sums.loss += weight * term;
    loss.add(term);
    clipped.add(is_clipped ? 1 : 0);
    out.add_value(s, t, is_clipped ? 0.0 : weight * miss);
  }

  PpoSettings settings_;
};

}  // namespace

std::unique_ptr<Objective> make_ppo(const ObjectiveSettings& settings) {
  if (!(settings.ppo.clip_range > 0)) throw Error(Exit::usage, "objective.ppo.clip_range: must be > 0");
  if (!(settings.ppo.value_clip_range > 0)) throw Error(Exit::usage, "objective.ppo.value_clip_range: must be > 0");
  return std::make_unique<Ppo>(settings);
}

}  // namespace nll
