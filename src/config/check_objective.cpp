// The checks between keys that are about what is learned: objective, records, rollout and reward. Keys of a kind that
// is not in use are not looked at.
#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>

#include "src/config/check.h"
#include "src/config/quote.h"

namespace nll {
namespace {

using Integer = std::int64_t;
using Maybe = std::optional<Conflict>;

bool any_of(const std::string& kind, std::initializer_list<const char*> kinds) {
  return std::any_of(kinds.begin(), kinds.end(), [&](const char* one) { return kind == one; });
}

std::string with_kind(const ObjectiveConfig& objective) { return "with objective.kind \"" + objective.kind + "\""; }

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// Records are .jsonl files, text is token shards.
Maybe check_files(const Config& config) {
  const bool records = config.objective.of_records();
  for (const auto& [key, files] :
       {std::pair{"data.train", &config.data.train}, std::pair{"data.validation", &config.data.validation}}) {
    for (const std::string& file : *files) {
      if (ends_with(file, ".jsonl") == records) continue;
      if (records) {
        return Conflict{
            key,
            fmt::format("{} is no .jsonl file (expected records {})", in_quotes(file), with_kind(config.objective)),
            "records are JSON lines, one object each (docs/records.md); token shards are for "
            "objective.kind \"language\""};
      }
      return Conflict{key, in_quotes(file) + " is a file of records (expected tokens with objective.kind \"language\")",
                      "make tokens of text by `nll tokenize`, or set objective.kind to \"sft\""};
    }
  }
  return std::nullopt;
}

// What asks for the log-probabilities of a second model; empty: nothing does. The remedy besides naming one.
struct ReferenceUse {
  std::string because, remedy;
};
ReferenceUse reference_use(const Config& config) {
  const ObjectiveConfig& objective = config.objective;
  const std::string& kind = objective.kind;
  if (any_of(kind, {"dpo", "kto"})) return {with_kind(objective), ""};
  if (kind == "contrastive" && objective.contrastive.reference) {
    return {"with objective.contrastive.reference", "set objective.contrastive.reference to false"};
  }
  if (any_of(kind, {"grpo", "gspo", "cispo"}) && objective.grpo.beta > 0) {
    return {fmt::format("with objective.grpo.beta {}", objective.grpo.beta), "set objective.grpo.beta to 0"};
  }
  if (any_of(kind, {"ppo", "rloo", "reinforce", "mixer"}) && config.rollout.kl_coefficient > 0) {
    return {fmt::format("with rollout.kl_coefficient {}", config.rollout.kl_coefficient),
            "set rollout.kl_coefficient to 0"};
  }
  return {};
}

Maybe check_reference(const Config& config) {
  const ReferenceUse use = reference_use(config);
  if (use.because.empty() || !config.objective.reference.empty() || !config.run.initial_weights.empty()) {
    return std::nullopt;
  }
  return Conflict{"objective.reference",
                  "is empty, and so is run.initial_weights (expected a reference model " + use.because + ")",
                  "start from a model: run.initial_weights" + (use.remedy.empty() ? "" : ", or " + use.remedy)};
}

// Weights that follow from scores hold for the same numbers only, and dropout makes others.
Maybe check_dropout(const Config& config) {
  const ObjectiveConfig& objective = config.objective;
  const bool weighed_beforehand =
      objective.kind == "language" || (objective.kind == "sft" && objective.sft.loss == "nll");
  if (config.model.dropout == 0 || weighed_beforehand) return std::nullopt;
  const std::string loss = objective.kind == "sft" ? fmt::format("objective.sft.loss \"{}\"", objective.sft.loss)
                                                   : fmt::format("objective.kind \"{}\"", objective.kind);
  return Conflict{
      "model.dropout",
      fmt::format("{} with {}, which compares log-probabilities of several passes", config.model.dropout, loss),
      "set model.dropout to 0"};
}

Maybe check_smoothing(const ObjectiveConfig& objective) {
  if (objective.label_smoothing == 0) return std::nullopt;
  const std::string key = "objective.label_smoothing";
  if (!any_of(objective.kind, {"language", "sft"})) {
    return Conflict{key,
                    fmt::format("{} means nothing {} (only \"language\" and \"sft\" have it)",
                                objective.label_smoothing, with_kind(objective)),
                    objective.kind == "dpo" ? "set it to 0; wrong labels are objective.dpo.label_smoothing"
                                            : "set objective.label_smoothing to 0"};
  }
  if (objective.kind == "sft" && objective.sft.loss != "nll") {
    return Conflict{key,
                    fmt::format("{} means nothing with objective.sft.loss \"{}\" (only \"nll\" has it)",
                                objective.label_smoothing, objective.sft.loss),
                    "set objective.label_smoothing to 0"};
  }
  return std::nullopt;
}

Maybe check_dpo(const DpoConfig& dpo) {
  std::vector<WeightedName> losses;
  if (Maybe conflict = read_weighted_names(dpo.losses, "objective.dpo.losses", pair_loss_names(), losses)) {
    return conflict;
  }
  for (const WeightedName& loss : losses) {
    if (loss.weight < 0) {
      return Conflict{"objective.dpo.losses",
                      fmt::format("the weight of {} is {} (expected above 0)", loss.name, loss.weight), ""};
    }
    if (loss.name == "robust" && dpo.label_smoothing >= 0.5) {
      return Conflict{"objective.dpo.label_smoothing",
                      fmt::format("{} with the loss robust (expected below 0.5)", dpo.label_smoothing),
                      "if more than half of the labels are wrong, swap chosen and rejected"};
    }
  }
  return std::nullopt;
}

Maybe check_kto(const Config& config, Integer ranks) {
  const KtoConfig& kto = config.objective.kto;
  if (config.batch.sequences && *config.batch.sequences < 2) {
    return Conflict{"batch.sequences", "1 with objective.kind \"kto\", which compares the records of a micro-batch",
                    "take at least 2, better 4"};
  }
  if (config.records.per_step < 2 * ranks) {
    return Conflict{"records.per_step",
                    fmt::format("{} on {} rank{} with objective.kind \"kto\", which compares the records of a rank",
                                config.records.per_step, ranks, ranks == 1 ? "" : "s"),
                    fmt::format("take at least {}", 2 * ranks)};
  }
  if (kto.desirable_weight == 0 && kto.undesirable_weight == 0) {
    return Conflict{"objective.kto.desirable_weight", "0, and so is objective.kto.undesirable_weight",
                    "nothing would be learned: give one of them a weight"};
  }
  return std::nullopt;
}

Maybe check_scheduled_sampling(const ObjectiveConfig& objective) {
  const ScheduledSamplingConfig& sampling = objective.scheduled_sampling;
  const std::string section = "objective.scheduled_sampling.";
  if (sampling.decay == "off") return std::nullopt;
  if (objective.kind != "language") {
    return Conflict{
        section + "decay",
        fmt::format("\"{}\" means nothing {} (only \"language\" has it)", sampling.decay, with_kind(objective)),
        "set objective.scheduled_sampling.decay to \"off\""};
  }
  if (sampling.decay == "exponential" && sampling.k >= 1) {
    return Conflict{section + "k", fmt::format("{} with decay \"exponential\" (expected below 1)", sampling.k),
                    "p is k^step: 0.999 halves it every 693 steps"};
  }
  if (sampling.decay == "inverse_sigmoid" && sampling.k < 1) {
    return Conflict{section + "k", fmt::format("{} with decay \"inverse_sigmoid\" (expected at least 1)", sampling.k),
                    "p is a half after k ln k steps"};
  }
  if (sampling.decay != "linear") {
    for (const auto& [name, value] : {std::pair{"slope", sampling.slope}, std::pair{"floor", sampling.floor}}) {
      if (value == 0) continue;
      return Conflict{section + name,
                      fmt::format("{} means nothing with decay \"{}\" (only \"linear\" has it)", value, sampling.decay),
                      "set " + section + name + " to 0"};
    }
  } else if (sampling.slope == 0 && std::max(sampling.floor, sampling.k) >= 1) {
    return Conflict{section + "slope",
                    fmt::format("0 with decay \"linear\" and k {}: p stays 1 and no input is replaced", sampling.k),
                    "1 / schedule.steps lets p fall to 0 in the run"};
  }
  return std::nullopt;
}

Maybe check_group_ratio(const GrpoConfig& grpo) {
  const double high = grpo.epsilon_high > 0 ? grpo.epsilon_high : grpo.epsilon;
  if (grpo.delta > 0 && grpo.delta <= 1 + high) {
    return Conflict{
        "objective.grpo.delta",
        fmt::format("{} is no more than 1 + {} {} (expected above {})", grpo.delta,
                    grpo.epsilon_high > 0 ? "objective.grpo.epsilon_high" : "objective.grpo.epsilon", high, 1 + high),
        "0 means none"};
  }
  return std::nullopt;
}

Maybe check_lengths(const Config& config) {
  const Integer context = config.model.context, longest = config.records.max_length.value_or(context);
  if (longest > context) {
    return Conflict{"records.max_length", fmt::format("{} is more than model.context {}", longest, context),
                    "\"auto\" is model.context"};
  }
  if (!config.objective.of_rollouts() || config.rollout.max_tokens < longest) return std::nullopt;
  return Conflict{"rollout.max_tokens",
                  fmt::format("{} leaves no room for a prompt in {} {}", config.rollout.max_tokens,
                              config.records.max_length ? "records.max_length" : "model.context", longest),
                  "prompt and completion together must fit"};
}

Maybe check_rollout(const Config& config, Integer ranks) {
  const RolloutConfig& rollout = config.rollout;
  const std::string& kind = config.objective.kind;
  const bool of_groups = any_of(kind, {"grpo", "gspo", "cispo", "rloo"});
  if (of_groups && rollout.completions == 1) {
    return Conflict{"rollout.completions",
                    fmt::format("1 {}, which compares the completions of a prompt", with_kind(config.objective)),
                    "take at least 2"};
  }
  if (rollout.prompts < ranks) {
    return Conflict{"rollout.prompts", fmt::format("{} are less than the {} ranks", rollout.prompts, ranks),
                    fmt::format("take at least {}", ranks)};
  }
  const Integer completions = rollout.completions.value_or(kind == "rloo" ? 2 : of_groups ? 8 : 1);
  const Integer texts = rollout.prompts * completions;
  if (texts % rollout.mini_batches != 0) {
    return Conflict{"rollout.mini_batches",
                    fmt::format("{} does not divide rollout.prompts {} x rollout.completions {} = {}",
                                rollout.mini_batches, rollout.prompts, completions, texts),
                    ""};
  }
  if (texts / rollout.mini_batches < ranks) {
    return Conflict{"rollout.mini_batches",
                    fmt::format("{} of {} completions leave less than one for each of {} ranks", rollout.mini_batches,
                                texts, ranks),
                    fmt::format("take at most {}", texts / ranks)};
  }
  if (rollout.top_k > config.model.vocabulary) {
    return Conflict{"rollout.top_k",
                    fmt::format("{} is more than model.vocabulary {}", rollout.top_k, config.model.vocabulary),
                    "0 means all"};
  }
  const MixerConfig& mixer = config.objective.mixer;
  if (kind == "mixer" && mixer.gold_tokens > rollout.max_tokens) {
    return Conflict{"objective.mixer.gold_tokens",
                    fmt::format("{} is more than rollout.max_tokens {}", mixer.gold_tokens, rollout.max_tokens), ""};
  }
  return std::nullopt;
}

Maybe check_rules(const RewardConfig& reward) {
  std::vector<WeightedName> rules;
  if (Maybe conflict = read_weighted_names(reward.rules, "reward.rules", reward_rule_names(), rules)) return conflict;
  for (const WeightedName& rule : rules) {
    const auto lacks = [&](const std::string& key, const char* expectation) {
      return Conflict{"reward." + key,
                      fmt::format("is {} (expected {} for the rule {} of reward.rules)",
                                  key == "target_tokens" ? "0" : "empty", expectation, rule.name),
                      ""};
    };
    if (rule.name == "regex" && reward.pattern.empty()) return lacks("pattern", "a regular expression");
    if (any_of(rule.name, {"exact_answer", "overlap"}) && reward.answer_field.empty()) {
      return lacks("answer_field", "the field with the right answer");
    }
    if (rule.name == "length" && reward.target_tokens == 0) return lacks("target_tokens", "a length");
    if (rule.name == "model" && reward.model.empty()) return lacks("model", "the folder of a reward model");
    if (rule.name == "command" && reward.command.empty()) return lacks("command", "a program and its arguments");
  }
  return std::nullopt;
}

}  // namespace

Maybe find_objective_conflict(const Config& config, Integer ranks) {
  const ObjectiveConfig& objective = config.objective;
  if (Maybe conflict = check_files(config)) return conflict;
  if (Maybe conflict = check_smoothing(objective)) return conflict;
  if (Maybe conflict = check_scheduled_sampling(objective)) return conflict;
  if (!objective.of_records()) return std::nullopt;
  if (objective.kind == "dpo") {
    if (Maybe conflict = check_dpo(objective.dpo)) return conflict;
  }
  if (objective.kind == "kto") {
    if (Maybe conflict = check_kto(config, ranks)) return conflict;
  }
  if (objective.kind == "reward") {
    for (const auto& [key, value] : {std::pair{"objective.z_loss", objective.z_loss},
                                     std::pair{"objective.entropy_bonus", objective.entropy_bonus}}) {
      if (value == 0) continue;
      return Conflict{key, fmt::format("{} means nothing {} (it has no logits)", value, with_kind(objective)),
                      std::string("set ") + key + " to 0"};
    }
  }
  if (any_of(objective.kind, {"grpo", "gspo", "cispo"})) {
    if (Maybe conflict = check_group_ratio(objective.grpo)) return conflict;
  }
  if (Maybe conflict = check_dropout(config)) return conflict;
  if (Maybe conflict = check_reference(config)) return conflict;
  if (Maybe conflict = check_lengths(config)) return conflict;
  if (objective.of_rollouts()) {
    if (Maybe conflict = check_rollout(config, ranks)) return conflict;
    return check_rules(config.reward);
  }
  if (config.records.per_step < ranks) {
    return Conflict{"records.per_step", fmt::format("{} are less than the {} ranks", config.records.per_step, ranks),
                    fmt::format("take at least {}", ranks)};
  }
  return std::nullopt;
}

}  // namespace nll
