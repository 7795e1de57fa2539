// The keys of section `objective`: what is minimised, and with which constants. Formulas: docs/objectives.md. Defaults
// are those of Hugging Face TRL unless docs/objectives.md says otherwise.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "src/config/visitor.h"

namespace nll {

struct SftConfig {
  std::string loss = "nll", reduction = "token_mean";

  void fields(Visitor& v) {
    v.choice("loss", loss, {"nll", "dft", "unlikelihood"},
             "-logp; dft: each token weighed by its own probability; unlikelihood: tokens to unlearn");
    v.choice("reduction", reduction, {"token_mean", "sequence_mean"}, "mean over all tokens, or over sequences first");
  }
};

struct DpoConfig {
  double beta = 0.1, label_smoothing = 0;
  std::vector<std::string> losses = {"sigmoid"};

  void fields(Visitor& v) {
    v.real("beta", beta, above(0), "", "strength of the pull to the reference model");
    v.real("label_smoothing", label_smoothing, from_below(0, 1), "", "share of pairs that are labelled the wrong way");
    v.texts(
        "losses", losses,
        "sigmoid, robust, hinge, ipo, ipo_sum, sigmoid_norm or sft; several are added, each with a weight in front: "
        "[\"sigmoid\", \"0.2 sft\"]");
  }
};

struct SimpoConfig {
  double beta = 0.1, gamma = 0.5, nll_weight = 0;

  void fields(Visitor& v) {
    v.real("beta", beta, above(0), "", "scale of the mean log-probabilities; the SimPO paper takes 2 to 2.5");
    v.real("gamma", gamma, at_least(0), "", "target margin, in units of the reward");
    v.real("nll_weight", nll_weight, at_least(0), "", "of the likelihood of chosen completions, added");
  }
};

struct CpoConfig {
  double beta = 0.1, nll_weight = 1;

  void fields(Visitor& v) {
    v.real("beta", beta, above(0), "", "scale of the log-probabilities");
    v.real("nll_weight", nll_weight, at_least(0), "", "of the likelihood of chosen completions, added");
  }
};

struct OrpoConfig {
  double beta = 0.1;
  bool nll_on_prompt = false;

  void fields(Visitor& v) {
    v.real("beta", beta, above(0), "", "weight of the odds ratio (lambda of the paper)");
    v.boolean("nll_on_prompt", nll_on_prompt, "the likelihood term pools prompt and chosen tokens, as TRL does");
  }
};

struct KtoConfig {
  double beta = 0.1, desirable_weight = 1, undesirable_weight = 1;
  std::string baseline = "micro_batch";

  void fields(Visitor& v) {
    v.real("beta", beta, above(0), "", "strength of the pull to the reference model");
    v.real("desirable_weight", desirable_weight, at_least(0), "", "of desirable records");
    v.real("undesirable_weight", undesirable_weight, at_least(0), "", "of undesirable records");
    v.choice("baseline", baseline, {"micro_batch", "step"},
             "records over which z0 is a mean: a micro-batch on all ranks, as TRL, or the optimizer step");
  }
};

struct ContrastiveConfig {
  double temperature = 1;
  bool length_normalise = false, reference = false;

  void fields(Visitor& v) {
    v.real("temperature", temperature, above(0), "", "scores are divided by it");
    v.boolean("length_normalise", length_normalise, "mean instead of sum of a completion's log-probabilities");
    v.boolean("reference", reference, "take off the reference model's log-probabilities");
  }
};

struct RewardModelConfig {
  double center_coefficient = 0;

  void fields(Visitor& v) {
    v.real("center_coefficient", center_coefficient, at_least(0), "",
           "of (r_chosen + r_rejected)^2, which keeps rewards centred; 0.01 is advised");
  }
};

struct PpoConfig {
  double clip_range = 0.2, value_clip_range = 0.2, value_coefficient = 0.1;

  void fields(Visitor& v) {
    v.real("clip_range", clip_range, above(0), "",
           "ratios beyond 1 -+ this have no gradient where they are good already");
    v.real("value_clip_range", value_clip_range, above(0), "", "the same for values around those of the rollout");
    v.real("value_coefficient", value_coefficient, at_least(0), "", "of the value loss");
  }
};

struct GrpoConfig {
  std::string aggregation = "dapo";
  double epsilon = 0.2, epsilon_high = 0, delta = 0, beta = 0, ratio_cap = 5;

  void fields(Visitor& v) {
    v.choice("aggregation", aggregation, {"grpo", "bnpo", "dapo", "dr_grpo"},
             "grpo, gspo, cispo: what token losses are divided by");
    v.real("epsilon", epsilon, above(0), "",
           "ratios below 1 - this have no gradient where they are good already; rloo too");
    v.real("epsilon_high", epsilon_high, at_least(0), "", "the same above 1 + this; 0: epsilon; rloo too");
    v.real("delta", delta, at_least(0), "", "largest ratio where the advantage is negative; 0: none");
    v.real("beta", beta, at_least(0), "",
           "of the divergence from the reference model, estimated by k3; 0: no reference");
    v.real("ratio_cap", ratio_cap, above(0), "", "cispo: largest ratio");
  }
};

struct ReinforceConfig {
  bool learned_baseline = false;

  void fields(Visitor& v) {
    v.boolean("learned_baseline", learned_baseline, "a scalar head learns the baseline; else it is 0");
  }
};

struct MixerConfig {
  std::int64_t gold_tokens = 16, fewer_gold_tokens = 2, every_steps = 50;

  void fields(Visitor& v) {
    v.integer("gold_tokens", gold_tokens, at_least(0), "tokens",
              "of each completion that are gold and learned by cross-entropy at first; the rest is sampled");
    v.integer("fewer_gold_tokens", fewer_gold_tokens, at_least(0), "tokens", "that are taken off ...");
    v.integer("every_steps", every_steps, at_least(1), "steps", "... this often");
  }
};

struct ScheduledSamplingConfig {
  std::string decay = "off";
  double k = 1, slope = 0, floor = 0;

  void fields(Visitor& v) {
    v.choice(
        "decay", decay, {"off", "linear", "exponential", "inverse_sigmoid"},
        "language: inputs become the model's own predictions with probability 1 - p, p falling like this: max(floor, "
        "k - slope step), k^step, k / (k + e^(step / k)); an ablation");
    v.real("k", k, above(0), "", "of that formula; exponential: below 1, inverse_sigmoid: at least 1");
    v.real("slope", slope, at_least(0), "", "linear: by how much p falls a step");
    v.real("floor", floor, between_real(0, 1), "", "linear: the least p");
  }
};

struct ObjectiveConfig {
  std::string kind = "language";
  double label_smoothing = 0, z_loss = 0, entropy_bonus = 0;
  std::string reference;
  SftConfig sft;
  DpoConfig dpo;
  SimpoConfig simpo;
  CpoConfig cpo;
  OrpoConfig orpo;
  KtoConfig kto;
  ContrastiveConfig contrastive;
  RewardModelConfig reward;
  PpoConfig ppo;
  GrpoConfig grpo;
  ReinforceConfig reinforce;
  MixerConfig mixer;
  ScheduledSamplingConfig scheduled_sampling;

  // Whether it learns from JSONL records, and whether completions are sampled while training.
  bool of_records() const { return kind != "language"; }
  bool of_pairs() const {
    return kind == "dpo" || kind == "simpo" || kind == "cpo" || kind == "orpo" || kind == "reward";
  }
  bool of_rollouts() const {
    return kind == "reinforce" || kind == "mixer" || kind == "ppo" || kind == "grpo" || kind == "gspo" ||
           kind == "cispo" || kind == "rloo";
  }
  // Whether the model has a scalar head: a reward, or the value of what was written so far.
  bool has_scalar_head() const {
    return kind == "reward" || kind == "ppo" ||
           ((kind == "reinforce" || kind == "mixer") && reinforce.learned_baseline);
  }

  void fields(Visitor& v) {
    v.choice("kind", kind,
             {"language", "sft", "dpo", "simpo", "cpo", "orpo", "kto", "contrastive", "reward", "reinforce", "mixer",
              "ppo", "grpo", "gspo", "cispo", "rloo"},
             "what is minimised: docs/objectives.md");
    v.real("label_smoothing", label_smoothing, from_below(0, 1), "",
           "language, sft: epsilon of q = (1 - epsilon) onehot + epsilon / V");
    v.real("z_loss", z_loss, at_least(0), "", "weight of the squared log-sum-exp of the logits");
    v.real("entropy_bonus", entropy_bonus, at_least(0), "", "weight of the entropy, which is taken off the loss");
    v.text("reference", reference, "folder of the reference model; empty: run.initial_weights");
    v.section("sft", sft);
    v.section("dpo", dpo);
    v.section("simpo", simpo);
    v.section("cpo", cpo);
    v.section("orpo", orpo);
    v.section("kto", kto);
    v.section("contrastive", contrastive);
    v.section("reward", reward);
    v.section("ppo", ppo);
    v.section("grpo", grpo);
    v.section("reinforce", reinforce);
    v.section("mixer", mixer);
    v.section("scheduled_sampling", scheduled_sampling);
  }
};

}  // namespace nll
