// Whole runs of every objective of records: a tiny model to start from, records in a folder that is removed afterwards.
#pragma once
#include <fmt/format.h>

#include <string>
#include <vector>

#include "tests/train/ranks_rig.h"
#include "tests/train/rig.h"

namespace nll::test {

inline const std::vector<std::string> objective_kinds = {"sft", "dpo",         "simpo",  "cpo",       "orpo",
                                                         "kto", "contrastive", "reward", "reinforce", "mixer",
                                                         "ppo", "grpo",        "gspo",   "cispo",     "rloo"};

// Line i of records that are read by a kind; different lengths, and different numbers of negatives.
inline std::string record_line(const std::string& kind, int i) {
  const auto text = [i](int salt) {
    const int n = 1 + (5 * i + 3 * salt) % 11;
    return std::string(static_cast<std::size_t>(n), static_cast<char>('a' + (7 * i + salt) % 26)) + " " +
           std::to_string(i * (salt + 1));
  };
  const std::string prompt = fmt::format(R"("prompt": "{}: ")", text(1));
  if (kind == "kto") return fmt::format("{{{}, \"completion\": \"{}\", \"label\": {}}}\n", prompt, text(2), i % 3 != 0);
  if (kind == "contrastive") {
    std::string negatives = fmt::format("\"{}\"", text(3));
    for (int n = 0; n < i % 3; ++n) negatives += fmt::format(", \"{}\"", text(4 + n));
    return fmt::format("{{{}, \"positive\": \"{}\", \"negatives\": [{}]}}\n", prompt, text(2), negatives);
  }
  ObjectiveConfig objective;
  objective.kind = kind;
  if (objective.of_pairs())
    return fmt::format("{{{}, \"chosen\": \"{}\", \"rejected\": \"{}\"}}\n", prompt, text(2), text(3));
  return fmt::format("{{{}, \"completion\": \"{}\"}}\n", prompt, text(2));
}

// A config of the kind, and its records in `folder`. 6 optimizer steps; 6 records a step, or 4 prompts a rollout.
inline Config objective_config(const Folder& folder, const std::string& kind) {
  const std::string model = std::string(NLL_SOURCE_DIR) + "/tests/train/fixtures/trl/model";
  const std::string name = folder / kind;
  std::string train, held_out;
  for (int i = 0; i < 22; ++i) (i < 17 ? train : held_out) += record_line(kind, i);
  write_file(name + "_train.jsonl", train);
  write_file(name + "_held_out.jsonl", held_out);
  Config config;
  config.run.directory = folder / "run_" + kind;
  config.run.initial_weights = model;
  config.data.train = {name + "_train.jsonl"};
  config.data.validation = {name + "_held_out.jsonl"};
  config.data.tokenizer = model;
  config.model = {.layers = 2, .heads = 2, .width = 16, .context = 64, .vocabulary = 300, .dropout = 0};
  config.objective.kind = kind;
  config.objective.kto.baseline = "step";
  config.objective.reinforce.learned_baseline = true;
  config.objective.grpo.beta = kind == "grpo" ? 0.04 : 0;
  config.objective.mixer = {.gold_tokens = 4, .fewer_gold_tokens = 1, .every_steps = 2};
  config.records.per_step = 6;
  config.rollout.prompts = 4;
  config.rollout.max_tokens = 6;
  if (kind == "ppo") config.rollout.epochs = config.rollout.mini_batches = 2;
  if (kind == "grpo") config.rollout.mini_batches = 2;
  if (kind == "grpo" || kind == "gspo" || kind == "cispo") config.rollout.completions = 4;
  config.reward.rules = {"regex"};
  config.reward.pattern = "[a-m]";
  config.optimizer.learning_rate = 3e-3;
  config.schedule.warmup_steps = 1;
  config.schedule.steps = 6;
  config.evaluation.every_steps = 3;
  config.checkpoint.every_steps = 0;
  config.checkpoint.keep_last = 100;
  config.device = "cpu";
  config.cpu.threads = 1;
  config.log.tensorboard = false;
  return config;
}

inline Config in(Config config, const std::string& directory) {
  config.run.directory = directory;
  return config;
}

inline std::vector<Event> events(const Config& config, const std::string& kind) {
  std::vector<Event> chosen;
  for (Event& event : read_metrics(config.run.directory + "/metrics.jsonl")) {
    if (event.event == kind) chosen.push_back(std::move(event));
  }
  return chosen;
}

// Of each event of that kind, the number of that name.
inline std::vector<double> numbers(const Config& config, const std::string& event, const std::string& name) {
  std::vector<double> list;
  for (const Event& of : events(config, event)) list.push_back(of.number(name));
  return list;
}

}  // namespace nll::test
