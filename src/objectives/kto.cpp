// Kahneman-Tversky optimization (Ethayarajh et al. 2024), of unpaired records that are desirable or not.
//   r = L(y) - Lref(y);  z0 = max(0, mean of L(y') - Lref(y') over mismatched completions), no gradient
//   desirable    w (1 - s(a)), a = beta (r - z0)        d/dlogp = -w beta s(a) s(-a) / B
//   undesirable  w (1 - s(a)), a = beta (z0 - r)        d/dlogp = +w beta s(a) s(-a) / B
#include "src/objectives/kto.h"

#include <algorithm>
#include <cmath>

#include "kernels/check.h"
#include "src/objectives/logistic.h"
#include "src/objectives/objective.h"
#include "src/objectives/records.h"

namespace nll {

namespace {

class Kto final : public Objective {
 public:
  explicit Kto(const ObjectiveSettings& settings) : Objective(settings), settings_(settings.kto) {}

  Needs needs() const override { return {.records = true, .reference_sums = true, .mismatched = true}; }
  bool one_pass() const override { return false; }

  // For each micro-batch, or for the step: the sum of the mismatched log-ratios and how many there are.
  std::vector<double> statistics(const Step& step) const override {
    const bool whole = settings_.baseline == KtoBaseline::step;
    std::vector<double> sums(2 * (whole ? 1 : step.micro_batches()), 0.0);
    for (const Sequence& s : step.sequences()) {
      CHECK(s.mismatched.has_value());
      CHECK(s.mismatched_reference.has_value());
      if (std::isnan(*s.mismatched)) continue;
      const std::size_t at = whole ? 0 : 2 * s.micro_batch;
      sums[at] += *s.mismatched - *s.mismatched_reference;
      sums[at + 1] += 1;
    }
    return sums;
  }

 private:
  void weigh_step(const Step& step, const StepTotals& totals, const StepGradient& out, StepSums& sums) const override {
    const double per_record = ratio_or_zero(1, static_cast<double>(totals.counts.records));
    const bool whole = settings_.baseline == KtoBaseline::step;
    CHECK(totals.statistics.size() >= 2 * (whole ? 1 : totals.micro_batch + step.micro_batches()));
    Metrics& metrics = sums.metrics;
    for (const char* name : {"kl", "rewards/chosen", "rewards/rejected"}) metrics.at(name);
    metrics.at("rewards/margins", Metric::Kind::difference);
    for (const char* name : {"logps/chosen", "logps/rejected", "logits/chosen", "logits/rejected"}) metrics.at(name);
    for (const Sequence& s : step.sequences()) {
      CHECK(s.info.role == 0);
      const double* statistic = &totals.statistics[whole ? 0 : 2 * (totals.micro_batch + s.micro_batch)];
      const double z0 = std::max(0.0, ratio_or_zero(statistic[0], statistic[1]));
      const double logp = s.logp_sum(), ratio = logp - s.reference_sum();
      const double sign = s.info.label ? 1 : -1;
      const double weight = s.info.label ? settings_.desirable_weight : settings_.undesirable_weight;
      const double a = sign * settings_.beta * (ratio - z0);
      sums.loss += weight * sigmoid(-a) * per_record;
      out.add_completion(s, -sign * weight * settings_.beta * sigmoid(a) * sigmoid(-a) * per_record);

      const double reward = settings_.beta * ratio;
      Metric& margins = metrics.at("rewards/margins", Metric::Kind::difference);
      s.info.label ? margins.add(reward) : margins.subtract(reward);
      metrics.at("kl").add(z0);
      metrics.at(s.info.label ? "rewards/chosen" : "rewards/rejected").add(reward);
      metrics.at(s.info.label ? "logps/chosen" : "logps/rejected").add(logp);
      add_mean_logits(s, metrics.at(s.info.label ? "logits/chosen" : "logits/rejected"));
    }
  }

  KtoSettings settings_;
};

}  // namespace

std::vector<std::optional<std::size_t>> mismatched_rows(const Batch& batch) {
  if (batch.sequences < 2) {
    throw Error(Exit::usage, "batch.sequences: 1, but the objective kto compares records of a micro-batch (at least 2)",
                "set batch.sequences to 4 or more");
  }
  std::vector<std::size_t> rows;
  for (std::size_t i = 0; i < batch.sequence_info.size(); ++i) {
    if (batch.sequence_info[i].record >= 0) rows.push_back(i);
  }
  std::vector<std::optional<std::size_t>> partners(batch.sequence_info.size());
  if (rows.size() < 2) return partners;
  for (std::size_t i = 0; i < rows.size(); ++i) partners[rows[i]] = rows[(i + rows.size() - 1) % rows.size()];
  return partners;
}

std::optional<KtoBalance> kto_balance(std::int64_t desirable, std::int64_t undesirable, const KtoSettings& settings) {
  const double wanted = static_cast<double>(desirable) * settings.desirable_weight;
  const double unwanted = static_cast<double>(undesirable) * settings.undesirable_weight;
  if (wanted <= 0 || unwanted <= 0) return std::nullopt;
  const double least = unwanted / static_cast<double>(desirable);
  return KtoBalance{wanted / unwanted, least, least * 4 / 3};
}

std::unique_ptr<Objective> make_kto(const ObjectiveSettings& settings) {
  const KtoSettings& kto = settings.kto;
  if (!(kto.beta > 0)) throw Error(Exit::usage, "objective.kto.beta: must be > 0");
  if (!(kto.desirable_weight >= 0 && kto.undesirable_weight >= 0)) {
    throw Error(Exit::usage, "objective.kto: desirable_weight and undesirable_weight must be >= 0");
  }
  return std::make_unique<Kto>(settings);
}

}  // namespace nll
