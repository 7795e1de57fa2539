// Reward model of Bradley and Terry: a scalar head on the last real token, trained on pairs.
//   d = r_w - r_l - margin;  loss = mean of -log s(d) + c (r_w + r_l)^2
//   d/dr_w = (-s(-d) + 2c (r_w + r_l)) / B,  d/dr_l = (+s(-d) + 2c (r_w + r_l)) / B
#include "kernels/check.h"
#include "src/objectives/logistic.h"
#include "src/objectives/objective.h"
#include "src/objectives/records.h"

namespace nll {

namespace {

class Reward final : public Objective {
 public:
  explicit Reward(const ObjectiveSettings& settings)
      : Objective(settings), center_(settings.reward.center_coefficient) {}

  Needs needs() const override { return {.head = false, .records = true, .values = true}; }
  bool one_pass() const override { return false; }

 private:
  void weigh_step(const Step& step, const StepTotals& totals, const StepGradient& out, StepSums& sums) const override {
    const double per_record = ratio_or_zero(1, static_cast<double>(totals.counts.records));
    Metrics& metrics = sums.metrics;
    for (const char* name : {"accuracy", "margin", "mean_reward"}) metrics.at(name);
    metrics.at("min_reward", Metric::Kind::least);
    metrics.at("max_reward", Metric::Kind::most);
    metrics.at("reward_std", Metric::Kind::deviation);
    for (const Pair& pair : pairs_of(step)) {
      const std::size_t chosen_at = last(*pair.chosen), rejected_at = last(*pair.rejected);
      const double chosen = static_cast<double>(pair.chosen->values[chosen_at]);
      const double rejected = static_cast<double>(pair.rejected->values[rejected_at]);
      const double d = chosen - rejected - pair.chosen->info.margin, both = chosen + rejected;
      sums.loss += (-log_sigmoid(d) + center_ * both * both) * per_record;
      out.add_value(*pair.chosen, chosen_at, (-sigmoid(-d) + 2 * center_ * both) * per_record);
      out.add_value(*pair.rejected, rejected_at, (sigmoid(-d) + 2 * center_ * both) * per_record);
      metrics.at("accuracy").add(chosen > rejected ? 1 : 0);
      metrics.at("margin").add(chosen - rejected);
      for (double reward : {chosen, rejected}) {
        metrics.at("mean_reward").add(reward);
        metrics.at("min_reward", Metric::Kind::least).add(reward);
        metrics.at("max_reward", Metric::Kind::most).add(reward);
        metrics.at("reward_std", Metric::Kind::deviation).add(reward);
      }
    }
  }

  // The position whose state has read the whole sequence.
  static std::size_t last(const Sequence& s) {
    CHECK(s.info.tokens >= 1);
    const auto at = static_cast<std::size_t>(s.info.tokens - 1);
    CHECK(at < s.values.size());
    return at;
  }

  double center_;
};

}  // namespace

std::unique_ptr<Objective> make_reward(const ObjectiveSettings& settings) {
  if (settings.z_loss != 0 || settings.entropy_bonus != 0) {
    throw Error(Exit::usage,
                "objective: z_loss and entropy_bonus are of the vocabulary head, which the kind reward has not",
                "set both to 0");
  }
  return std::make_unique<Reward>(settings);
}

}  // namespace nll
