// A small model that writes completions, with everything a RolloutSource works with, for one rank of a test.
#pragma once
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "src/dist/threads.h"
#include "src/objectives/objective.h"
#include "src/train/rollout_plan.h"
#include "src/train/rollout_source.h"
#include "tests/dist/ranks.h"
#include "tests/model/rig.h"
#include "tests/text/byte_tokenizer.h"

namespace nll::test {

inline ModelConfig rollout_model() {
  ModelConfig model = tiny_model();
  model.width = 16;
  model.context = 32;
  model.vocabulary = 260;
  return model;
}

// Rollouts of `prompts` prompts; the reward is how near a completion is to four tokens, and whether it holds a letter.
inline Config rollout_config(const std::string& kind) {
  Config config;
  config.model = rollout_model();
  config.objective.kind = kind;
  config.run.seed = 7;
  config.rollout.prompts = 4;
  config.rollout.max_tokens = 8;
  config.rollout.temperature = 0.9;
  config.reward.rules = {"length", "0.5 regex"};
  config.reward.target_tokens = 4;
  config.reward.pattern = "[a-z]";
  return config;
}

inline std::string rollout_records() {
  std::string lines;
  for (const char* prompt : {"one", "to three", "x", "four five", "six!"}) {
    lines += std::string("{\"prompt\": \"") + prompt + "\", \"completion\": \"yes and no\", \"answer\": \"4\"}\n";
  }
  return lines;
}

class RolloutDesk {
 public:
  static constexpr std::int64_t B = 3;

  // What all ranks of a test share.
  struct Shelf {
    TemporaryFolder folder;
    Tokenizer tokenizer = byte_tokenizer();
    std::string file = write_file(folder / "records.jsonl", rollout_records());
    RecordDataset open(RecordKind kind) const {
      RecordOptions options;
      options.files = {file};
      options.kind = kind;
      options.cache_folder = folder / "cache";
      return RecordDataset(options, tokenizer);
    }
  };

  RolloutDesk(const Shelf& shelf, const Config& config, std::shared_ptr<Transport> transport = one_rank(),
              RewardFunction model = {})
      : config_(config),
        tokenizer_(shelf.tokenizer),
        dataset(shelf.open(config.objective.kind == "mixer" ? RecordKind::supervised : RecordKind::prompt_only)),
        rig(config.model),
        T((rollout_context(config_, dataset) + 15) / 16 * 16),
        collective(std::move(transport), rig.device, rig.ops, {}),
        generator_(rig.model, rig.head, rig.ops, rig.device, rollout_sequences(config_, collective.world().size)),
        gpt_(rig.model, rig.ops, rig.device, B, T, Pass::inference),
        head_(rig.model, rig.head, rig.ops, rig.device, B * T, {}, RowChoice::chosen),
        scorer(gpt_, head_, rig.device, rig.ops, B, T),
        rewards_(config_.reward, std::move(model)) {
    rig.randomize(41);
    // So that an end of text is likely.
    rig.device.upload(rig.w.final_bias, std::vector<float>(16, 1.0f).data());
    rig.device.upload(rig.w.wte.slice(257, 1), std::vector<float>(16, 0.3f).data());
    rig.w.score = rig.upload(std::vector<float>{1, -1, 2, 0.5f, 0, 1, 0, 3, -2, 0, 1, 1, -1, 0, 0.25f, 2}, {16});
    reference = rig.w;
    reference.wpe =
        rig.upload(std::vector<float>(static_cast<std::size_t>(rig.model.context) * 16, 0.1f), {rig.model.context, 16});
    head_.set_temperature(config_.rollout.temperature);
    needs = make_objective(config_.objective, config_.rollout)->needs();
  }

  std::unique_ptr<RolloutSource> source() {
    return std::make_unique<RolloutSource>(RolloutParts{.config = config_,
                                                        .dataset = dataset,
                                                        .tokenizer = tokenizer_,
                                                        .generator = generator_,
                                                        .scorer = scorer,
                                                        .weights = [this]() -> const GptTensors& { return rig.w; },
                                                        .reference = &reference,
                                                        .rewards = rewards_,
                                                        .needs = needs,
                                                        .collective = collective,
                                                        .stop_requested = [this] { return stop && stop(); },
                                                        .sequences = B,
                                                        .context = T});
  }
  // The packed products give each row the same bits whatever the other rows are.
  bool exact() const { return rig.device.info().instructions != "generic"; }

 private:
  Config config_;
  const Tokenizer& tokenizer_;

 public:
  RecordDataset dataset;
  Rig rig;
  std::int64_t T;
  Collective collective;
  GptTensors reference;
  Needs needs;
  std::function<bool()> stop;

 private:
  BatchGenerator generator_;
  Gpt gpt_;
  Head head_;

 public:
  Scorer scorer;

 private:
  RewardRules rewards_;
};

// The rows of a step that are no fillers, as texts that tell all that an objective sees of them.
inline std::vector<std::string> rows_of(const StepData& data) {
  std::vector<std::string> rows;
  for (const StepBatch& part : data.batches) {
    const auto T = static_cast<std::size_t>(part.batch.context);
    for (std::size_t row = 0; row < part.batch.sequence_info.size(); ++row) {
      const SequenceInfo& info = part.batch.sequence_info[row];
      if (info.record < 0) continue;
      std::string text = std::to_string(info.record) + " " + std::to_string(info.prompt_tokens) + "/" +
                         std::to_string(info.tokens) + ":";
      const auto add = [&](const char* name, const auto& values, std::size_t width) {
        if (values.empty()) return;
        text += std::string(" ") + name;
        for (std::size_t t = row * width; t < (row + 1) * width; ++t) {
          char number[40];
          std::snprintf(number, sizeof number, " %.17g", static_cast<double>(values[t]));
          text += number;
        }
      };
      add("tokens", part.batch.tokens, T);
      add("targets", part.batch.targets, T);
      add("old", part.old_logp, T);
      add("values", part.old_values, T);
      add("reference", part.reference_logp, T);
      add("advantage", part.advantages, 1);
      add("advantages", part.token_advantages, T);
      add("returns", part.returns, T);
      rows.push_back(text);
    }
  }
  return rows;
}

}  // namespace nll::test
