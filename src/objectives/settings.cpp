#include "src/objectives/settings.h"

#include "kernels/check.h"
#include "src/config/weighted_name.h"

namespace nll {
namespace {

// The value of an enum by its name in the config: names stand in the order of the enum.
template <class Enum>
Enum named(const std::string& name, const std::vector<std::string>& names) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return static_cast<Enum>(i);
  }
  CHECK(false);
  return {};
}

std::optional<double> above_zero(double value) {
  if (value == 0) return std::nullopt;
  return value;
}

std::vector<WeightedPairLoss> pair_losses(const std::vector<std::string>& texts) {
  std::vector<WeightedPairLoss> losses;
  for (const WeightedName& loss : weighted_names(texts, "objective.dpo.losses", pair_loss_names())) {
    losses.push_back({named<PairLoss>(loss.name, pair_loss_names()), loss.weight});
  }
  return losses;
}

}  // namespace

ObjectiveSettings objective_settings(const ObjectiveConfig& objective, const RolloutConfig& rollout) {
  ObjectiveSettings settings;
  settings.kind = objective.kind;
  settings.label_smoothing = objective.label_smoothing;
  settings.z_loss = objective.z_loss;
  settings.entropy_bonus = objective.entropy_bonus;
  settings.sft = {named<SupervisedLoss>(objective.sft.loss, {"nll", "dft", "unlikelihood"}),
                  named<Reduction>(objective.sft.reduction, {"token_mean", "sequence_mean"})};
  settings.dpo.beta = objective.dpo.beta;
  settings.dpo.label_smoothing = objective.dpo.label_smoothing;
  if (objective.kind == "dpo") settings.dpo.losses = pair_losses(objective.dpo.losses);
  settings.simpo = {objective.simpo.beta, objective.simpo.gamma, objective.simpo.nll_weight};
  settings.cpo = {objective.cpo.beta, objective.cpo.nll_weight};
  settings.orpo = {objective.orpo.beta, objective.orpo.nll_on_prompt};
  settings.kto = {objective.kto.beta, objective.kto.desirable_weight, objective.kto.undesirable_weight,
                  named<KtoBaseline>(objective.kto.baseline, {"micro_batch", "step"})};
  settings.contrastive = {objective.contrastive.temperature, objective.contrastive.length_normalise,
                          objective.contrastive.reference};
  settings.reward = {objective.reward.center_coefficient};
  settings.reinforce = {objective.reinforce.learned_baseline};
  settings.ppo = {objective.ppo.clip_range, objective.ppo.value_clip_range, objective.ppo.value_coefficient, true};
  const bool one_update = rollout.epochs == 1 && rollout.mini_batches == 1;
  const GrpoConfig& grpo = objective.grpo;
  settings.grpo.epsilon = grpo.epsilon;
  settings.grpo.epsilon_high = above_zero(grpo.epsilon_high);
  settings.grpo.delta = above_zero(grpo.delta);
  settings.grpo.beta = grpo.beta;
  settings.grpo.aggregation = named<GroupAggregation>(grpo.aggregation, {"grpo", "bnpo", "dapo", "dr_grpo"});
  settings.grpo.max_completion_tokens = rollout.max_tokens;
  settings.grpo.ratio_cap = grpo.ratio_cap;
  settings.grpo.one_update = one_update;
  settings.rloo = {grpo.epsilon, above_zero(grpo.epsilon_high), one_update};
  return settings;
}

}  // namespace nll
