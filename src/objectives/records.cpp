#include "src/objectives/records.h"

#include "kernels/check.h"
#include "src/objectives/logistic.h"

namespace nll {

Records::Records(const Step& step) {
  for (const Sequence& s : step.sequences()) {
    if (s.info.role == 0) {
      begins_.push_back(members_.size());
    } else {
      CHECK(!begins_.empty());
      CHECK(s.info.record == members_.back()->info.record);
      CHECK(s.info.role == members_.back()->info.role + 1);
    }
    members_.push_back(&s);
  }
}

std::span<const Sequence* const> Records::operator[](std::size_t i) const {
  const std::size_t end = i + 1 < begins_.size() ? begins_[i + 1] : members_.size();
  return std::span(members_).subspan(begins_[i], end - begins_[i]);
}

std::vector<Pair> pairs_of(const Step& step) {
  const Records records(step);
  std::vector<Pair> pairs;
  pairs.reserve(records.size());
  for (std::size_t i = 0; i < records.size(); ++i) {
    CHECK(records[i].size() == 2u);
    pairs.push_back({records[i][0], records[i][1]});
  }
  return pairs;
}

void add_mean_logits(const Sequence& s, Metric& metric) {
  if (s.scored.mean_logp.empty() || s.scored.maximum.empty() || s.scored.log_denominator.empty()) return;
  s.completion([&](std::size_t t) {
    metric.add(static_cast<double>(s.scored.mean_logp[t]) + s.scored.maximum[t] + s.scored.log_denominator[t]);
  });
}

PreferenceReport::PreferenceReport(Metrics& metrics) : metrics_(metrics) {
  for (const char* name : {"rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies",
                           "logps/chosen", "logps/rejected", "logits/chosen", "logits/rejected"}) {
    metrics_.at(name);
  }
}

void PreferenceReport::add(const Pair& pair, double reward_chosen, double reward_rejected, double logp_chosen,
                           double logp_rejected) {
  metrics_.at("rewards/chosen").add(reward_chosen);
  metrics_.at("rewards/rejected").add(reward_rejected);
  metrics_.at("rewards/margins").add(reward_chosen - reward_rejected);
  metrics_.at("rewards/accuracies").add(reward_chosen > reward_rejected ? 1 : 0);
  metrics_.at("logps/chosen").add(logp_chosen);
  metrics_.at("logps/rejected").add(logp_rejected);
  add_mean_logits(*pair.chosen, metrics_.at("logits/chosen"));
  add_mean_logits(*pair.rejected, metrics_.at("logits/rejected"));
}

double logp_mean(const Sequence& s) { return ratio_or_zero(s.logp_sum(), static_cast<double>(s.tokens)); }

}  // namespace nll
