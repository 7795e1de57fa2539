// InfoNCE over log-probabilities of sequences: the positive against its negatives.
//   s_i = (L(y_i) [- Lref(y_i)]) [/ |y_i|] / temperature, 0 the positive;  pi = softmax(s);  loss = -mean log pi_0
//   d/dlogp_t = (pi_i - 1[i = 0]) / (temperature B [|y_i|])
// One negative, no normalisation and the reference: DPO with beta = 1/temperature.
#include <algorithm>
#include <cmath>

#include "kernels/check.h"
#include "src/objectives/logistic.h"
#include "src/objectives/objective.h"
#include "src/objectives/records.h"

namespace nll {

namespace {

class Contrastive final : public Objective {
 public:
  explicit Contrastive(const ObjectiveSettings& settings) : Objective(settings), settings_(settings.contrastive) {}

  Needs needs() const override { return {.records = true, .reference_sums = settings_.reference}; }
  bool one_pass() const override { return false; }

 private:
  void weigh_step(const Step& step, const StepTotals& totals, const StepGradient& out, StepSums& sums) const override {
    const double per_record = ratio_or_zero(1, static_cast<double>(totals.counts.records));
    const Records records(step);
    for (const char* name : {"accuracy", "positive_probability", "candidate_entropy"}) sums.metrics.at(name);
    std::vector<double> scores, scales;
    for (std::size_t i = 0; i < records.size(); ++i) {
      const auto record = records[i];
      scores.clear();
      scales.clear();
      for (const Sequence* s : record) {
        const double length = settings_.length_normalise ? static_cast<double>(s->tokens) : 1.0;
        scales.push_back(ratio_or_zero(1, length * settings_.temperature));
        scores.push_back((s->logp_sum() - (settings_.reference ? s->reference_sum() : 0.0)) * scales.back());
      }
      const double most = *std::max_element(scores.begin(), scores.end());
      double denominator = 0;
      for (double score : scores) denominator += std::exp(score - most);
      const double log_denominator = std::log(denominator);
      double entropy = 0;
      for (std::size_t j = 0; j < record.size(); ++j) {
        const double log_share = scores[j] - most - log_denominator, share = std::exp(log_share);
        entropy -= share * log_share;
        // 1 - share of the positive by what the others have: it keeps its digits near certainty.
        double slope = share;
        if (j == 0) {
          slope = 0;
          for (std::size_t k = 1; k < record.size(); ++k) slope -= std::exp(scores[k] - most - log_denominator);
        }
        out.add_completion(*record[j], slope * scales[j] * per_record);
      }
      const double log_positive = scores[0] - most - log_denominator;
      sums.loss -= log_positive * per_record;
      const bool first = std::all_of(scores.begin() + 1, scores.end(), [&](double score) { return scores[0] > score; });
      sums.metrics.at("accuracy").add(first ? 1 : 0);
      sums.metrics.at("positive_probability").add(std::exp(log_positive));
      sums.metrics.at("candidate_entropy").add(entropy);
    }
  }

  ContrastiveSettings settings_;
};

}  // namespace

std::unique_ptr<Objective> make_contrastive(const ObjectiveSettings& settings) {
  if (!(settings.contrastive.temperature > 0)) {
    throw Error(Exit::usage, "objective.contrastive.temperature: must be > 0");
  }
  return std::make_unique<Contrastive>(settings);
}

}  // namespace nll
