// ObjectiveSettings: what is minimised, and with which constants. Defaults are those of Hugging Face TRL unless a
// comment says otherwise.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/config/config.h"

namespace nll {

enum class SupervisedLoss {
  nll,          // -logp
  dft,          // -p logp with p detached: confident tokens weigh more
  unlikelihood  // -log(1 - p): the targets are tokens to unlearn
};
enum class Reduction {
  token_mean,    // over all tokens of the optimizer step
  sequence_mean  // over sequences of the mean over their tokens
};
struct SupervisedSettings {
  SupervisedLoss loss = SupervisedLoss::nll;
  Reduction reduction = Reduction::token_mean;
};

enum class PairLoss { sigmoid, robust, hinge, ipo, ipo_sum, sigmoid_norm, sft };
struct WeightedPairLoss {
  PairLoss loss = PairLoss::sigmoid;
  double weight = 1;
};
struct DpoSettings {
  double beta = 0.1;
  double label_smoothing = 0;  // share of wrong labels: sigmoid becomes conservative DPO; robust needs < 0.5
  std::vector<WeightedPairLoss> losses{{}};
};

struct SimpoSettings {
  double beta = 0.1;   // the SimPO paper takes 2 to 2.5
  double gamma = 0.5;  // target margin, in units of the reward
  double nll_weight = 0;
};
struct CpoSettings {
  double beta = 0.1;
  double nll_weight = 1;  // cpo_alpha
};
struct OrpoSettings {
  double beta = 0.1;           // lambda of the paper
  bool nll_on_prompt = false;  // true: the likelihood term pools prompt and chosen tokens, as TRL does
};

enum class KtoBaseline {
  micro_batch,  // z0 of a micro-batch: mean over its records on all ranks, as TRL
  step          // one z0 for the whole optimizer step
};
struct KtoSettings {
  double beta = 0.1;
  double desirable_weight = 1, undesirable_weight = 1;
  KtoBaseline baseline = KtoBaseline::micro_batch;
};

struct ContrastiveSettings {  // not in TRL
  double temperature = 1;
  bool length_normalise = false;
  bool reference = false;  // subtract the reference's log-probability
};
struct RewardSettings {
  double center_coefficient = 0;  // of (r_chosen + r_rejected)^2; 0.01 is advised
};

struct ReinforceSettings {
  bool learned_baseline = false;  // the values of the scalar head are the baseline and learn by squared error
};
struct PpoSettings {
  double clip_range = 0.2, value_clip_range = 0.2, value_coefficient = 0.1;
  bool learn_values = true;
};

enum class GroupAggregation { grpo, bnpo, dapo, dr_grpo };
struct GrpoSettings {  // grpo, gspo, cispo
  double epsilon = 0.2;
  std::optional<double> epsilon_high;  // none: epsilon
  std::optional<double> delta;         // upper bound of the ratio where the advantage is negative
  double beta = 0;                     // of the KL term k3
  GroupAggregation aggregation = GroupAggregation::dapo;
  std::int64_t max_completion_tokens = 512;  // dr_grpo divides by it
  double ratio_cap = 5;                      // cispo: largest ratio (TRL reads it from epsilon_high)
  bool one_update = true;  // one optimizer step a rollout: the old policy is the policy, every ratio is 1
};
struct RlooSettings {
  double epsilon = 0.2;
  std::optional<double> epsilon_high;
  bool one_update = true;
};

struct ObjectiveSettings {
  std::string kind = "language";
  double label_smoothing = 0;  // language, sft
  double z_loss = 0;           // any kind: + z_loss lse^2, mean over valid tokens
  double entropy_bonus = 0;    // any kind: - entropy_bonus entropy, mean over valid tokens
  SupervisedSettings sft;
  DpoSettings dpo;
  SimpoSettings simpo;
  CpoSettings cpo;
  OrpoSettings orpo;
  KtoSettings kto;
  ContrastiveSettings contrastive;
  RewardSettings reward;
  ReinforceSettings reinforce;  // reinforce, mixer
  PpoSettings ppo;
  GrpoSettings grpo;
  RlooSettings rloo;
};

// What the keys say. `rloo` has its ratio's range from section objective.grpo; a rollout of one epoch and one
// mini-batch is one update. objective.dpo.losses is looked at for the kind dpo alone: Error(usage) where it is no list
// of losses.
ObjectiveSettings objective_settings(const ObjectiveConfig& objective, const RolloutConfig& rollout);

}  // namespace nll
