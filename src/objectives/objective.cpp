#include "src/objectives/objective.h"

#include <algorithm>

#include "kernels/check.h"
#include "src/objectives/logistic.h"

namespace nll {

namespace {

double lse_of(const ScoredTokens& scored, std::size_t t) {
  return static_cast<double>(scored.maximum[t]) + scored.log_denominator[t];
}

void add_token_sums(const Sequence& s, ObjectiveSums& sums) {
  s.everything([&](std::size_t t) {
    sums.tokens += 1;
    sums.nll -= static_cast<double>(s.scored.logp[t]);
    if (!s.scored.argmax.empty()) sums.correct += s.scored.argmax[t] == s.targets[t] ? 1 : 0;
    if (!s.scored.entropy.empty()) sums.entropy += static_cast<double>(s.scored.entropy[t]);
  });
}

}  // namespace

ObjectiveSums& ObjectiveSums::operator+=(const ObjectiveSums& other) {
  tokens += other.tokens;
  correct += other.correct;
  nll += other.nll;
  entropy += other.entropy;
  return *this;
}

StepSums& StepSums::operator+=(const StepSums& other) {
  loss += other.loss;
  tokens += other.tokens;
  metrics += other.metrics;
  return *this;
}

StepSums Objective::weigh(const Step& step, const StepTotals& totals, const StepGradient& out) const {
  CHECK((out.coefficients.empty() || out.coefficients.size() == 4 * step.positions()));
  CHECK((out.values.empty() || out.values.size() == step.positions()));
  std::fill(out.coefficients.begin(), out.coefficients.end(), 0.0);
  std::fill(out.values.begin(), out.values.end(), 0.0);
  const bool head = needs().head, early = one_pass();
  for (const Sequence& s : step.sequences()) CHECK((!head || early || s.is_scored()));
  StepSums sums;
  weigh_step(step, totals, out, sums);
  regularise(step, totals, out, sums);
  for (const Sequence& s : step.sequences()) {
    if (s.is_scored()) add_token_sums(s, sums.tokens);
  }
  return sums;
}

void Objective::regularise(const Step& step, const StepTotals& totals, const StepGradient& out, StepSums& sums) const {
  if (z_loss_ == 0 && entropy_bonus_ == 0) return;
  const double weight = ratio_or_zero(1, static_cast<double>(totals.counts.tokens));
  for (const Sequence& s : step.sequences()) {
    s.everything([&](std::size_t t) {
      if (z_loss_ != 0) {
        const double lse = lse_of(s.scored, t);
        out.add(s, t, StepGradient::lse, 2 * z_loss_ * weight * lse);
        sums.loss += z_loss_ * weight * lse * lse;
      }
      if (entropy_bonus_ != 0) {
        out.add(s, t, StepGradient::entropy, -entropy_bonus_ * weight);
        if (s.is_scored()) sums.loss -= entropy_bonus_ * weight * static_cast<double>(s.scored.entropy[t]);
      }
    });
  }
}

}  // namespace nll
