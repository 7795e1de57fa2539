// The keys of sections `records`, `rollout` and `reward`: what objectives other than plain text learn from.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "src/config/visitor.h"

namespace nll {

struct RoleMarkersConfig {
  std::string prefix, suffix;

  void fields(Visitor& v) {
    v.text("prefix", prefix, "what stands before a message of this role");
    v.text("suffix", suffix, "what stands behind it");
  }
};

struct RecordsConfig {
  std::int64_t per_step = 32;
  AutoInteger max_length;
  std::string bad = "stop";
  std::int64_t longest_line = std::int64_t{1} << 24;
  std::string cache = "auto";
  bool assistant_only = false;
  RoleMarkersConfig system{"<|system|>\n", "\n"}, user{"<|user|>\n", "\n"},
      assistant{"<|assistant|>\n", "<|endoftext|>"}, tool{"<|tool|>\n", "\n"};

  void fields(Visitor& v) {
    v.integer("per_step", per_step, between(1, std::int64_t{1} << 30), "records",
              "of one optimizer step, on all ranks");
    v.automatic("max_length", max_length, between(2, 1 << 24), "tokens",
                "longest sequence, prompt included; auto: model.context");
    v.choice("bad", bad, {"stop", "skip"}, "what to do at a line that is no record: stop, or skip and count it");
    v.integer("longest_line", longest_line, between(2, std::int64_t{1} << 40), "bytes", "a longer line is no record");
    v.text("cache", cache, "folder for tokenized records and reference log-probabilities; auto: records/ in the run");
    v.boolean("assistant_only", assistant_only, "messages: train on assistant turns alone");
    v.section("system", system);
    v.section("user", user);
    v.section("assistant", assistant);
    v.section("tool", tool);
  }
};

struct RolloutConfig {
  std::int64_t prompts = 16;
  AutoInteger completions, sequences;
  std::int64_t max_tokens = 64;
  double temperature = 1;
  std::int64_t top_k = 0;
  double top_p = 1;
  std::int64_t epochs = 1, mini_batches = 1;
  std::string truncated = "keep", kl_estimator = "k1", score_place = "last_token", scale_rewards = "group";
  double kl_coefficient = 0.05, missing_end_penalty = 0, gamma = 1, lambda = 0.95;
  bool whiten_rewards = false, normalise_advantages = false;

  void fields(Visitor& v) {
    v.integer("prompts", prompts, between(1, 1 << 24), "prompts", "of one rollout, on all ranks");
    v.automatic("completions", completions, between(1, 1 << 20), "completions",
                "sampled for each prompt; auto: 8 for grpo, gspo and cispo, 2 for rloo, else 1");
    v.automatic("sequences", sequences, between(1, 1 << 20), "sequences",
                "texts that are written at a time on one rank");
    v.integer("max_tokens", max_tokens, between(1, 1 << 24), "tokens", "of a completion, at most");
    v.real("temperature", temperature, above(0), "", "of sampling, and of all log-probabilities that are compared");
    v.integer("top_k", top_k, at_least(0), "tokens", "sample from the k most likely tokens only; 0: all");
    v.real("top_p", top_p, above_up_to(0, 1), "", "sample from the most likely tokens that hold this much probability");
    v.integer("epochs", epochs, between(1, 1000), "", "passes over a rollout");
    v.integer("mini_batches", mini_batches, between(1, 1 << 20), "", "optimizer steps of one pass");
    v.choice("truncated", truncated, {"keep", "mask"}, "completions that were cut off: learn from them, or not");
    v.real("kl_coefficient", kl_coefficient, at_least(0), "",
           "ppo, rloo, reinforce, mixer: of the divergence from the reference model, taken off the rewards; 0: no "
           "reference");
    v.choice("kl_estimator", kl_estimator, {"k1", "k3"}, "of that divergence: logp - reference, or e^-d - 1 + d of it");
    v.real("missing_end_penalty", missing_end_penalty, at_least(0), "",
           "taken off the score of a text that did not end");
    v.choice("score_place", score_place, {"last_token", "slot_after_last"},
             "ppo: whose reward the score is; slot_after_last as TRL has it");
    v.real("gamma", gamma, between_real(0, 1), "", "ppo, reinforce: discount of later rewards");
    v.real("lambda", lambda, between_real(0, 1), "", "ppo: of generalized advantage estimation");
    v.boolean("whiten_rewards", whiten_rewards, "ppo: scale rewards by their deviation");
    v.choice("scale_rewards", scale_rewards, {"group", "batch", "none"},
             "grpo, gspo, cispo: whose deviation advantages are divided by");
    v.boolean("normalise_advantages", normalise_advantages, "rloo: by mean and deviation of all");
  }
};

struct RewardConfig {
  std::vector<std::string> rules, command;
  std::string pattern, answer_field = "answer", answer_pattern, model;
  std::int64_t target_tokens = 0, command_seconds = 60;

  void fields(Visitor& v) {
    v.texts("rules", rules,
            "exact_answer, regex, length, repetition, overlap, model or command; several are added, each with a weight "
            "in front: [\"exact_answer\", \"0.2 regex\"]");
    v.text("pattern", pattern, "regex: 1 where the completion holds a match of this (PCRE2), else 0");
    v.text("answer_field", answer_field, "exact_answer, overlap: field of the record that has the right answer");
    v.text("answer_pattern", answer_pattern,
           "exact_answer: the first group of the last match is the answer; empty: the whole completion without blanks "
           "around it");
    v.integer("target_tokens", target_tokens, at_least(0), "tokens",
              "length: the reward falls with the distance from it");
    v.text("model", model, "model: folder of a reward model that was trained by objective.kind \"reward\"");
    v.texts("command", command, "command: program and arguments that read and write JSON lines: docs/rewards.md");
    v.integer("command_seconds", command_seconds, between(1, 1 << 20), "seconds",
              "an answer that takes longer is an error");
  }
};

}  // namespace nll
