#include "src/train/rollout_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/check.h"
#include "src/infer/batch_generate.h"
#include "src/train/rollout_advantages.h"
#include "src/train/rollout_state.h"

namespace nll {
namespace {

constexpr std::int64_t most_sequences = 64;  // texts at a time where nobody says; more of them hardly go faster

std::int64_t longest_prompt(const RecordDataset& dataset) {
  if (dataset.kind() == RecordKind::prompt_only) return dataset.longest();
  std::int64_t longest = 0;
  for (std::int64_t record = 0; record < dataset.records(); ++record) {
    longest = std::max(longest, dataset.sequences(record).front().info.prompt_tokens);
  }
  return longest;
}

}  // namespace

std::int64_t rollout_context(const Config& config, const RecordDataset& dataset) {
  const std::int64_t prompt = longest_prompt(dataset), completion = config.rollout.max_tokens;
  if (completion > config.model.context - prompt) {
    throw Error(Exit::usage,
                fmt::format("rollout.max_tokens: {} after a prompt of {} tokens go beyond model.context {}", completion,
                            prompt, config.model.context),
                "write shorter completions, or keep prompts short with records.max_length");
  }
  return prompt + completion;
}

RolloutCut rollout_cut(const Config& config, std::int64_t rank, std::int64_t ranks, std::int64_t sequences,
                       std::int64_t context) {
  const RolloutConfig& rollout = config.rollout;
  const auto refuse = [](const std::string& what, const char* hint) { throw Error(Exit::usage, what, hint); };
  RolloutCut cut;
  cut.completions = rollout.prompts * completions_of_a_prompt(config);
  cut.epochs = rollout.epochs;
  cut.mini_batches = rollout.mini_batches;
  cut.sequences = sequences;
  cut.context = context;
  cut.rank = rank;
  cut.ranks = ranks;
  cut.seed = static_cast<std::uint64_t>(config.run.seed);
  if (rollout.prompts < ranks) {
    refuse(fmt::format("rollout.prompts: {} prompts cannot be shared by {} ranks", rollout.prompts, ranks),
           "take at least one prompt for each rank");
  }
  if (cut.completions / cut.mini_batches < ranks) {
    refuse(fmt::format("rollout.mini_batches: {} of {} completions cannot be shared by {} ranks", cut.mini_batches,
                       cut.completions, ranks),
           "an optimizer step needs at least one completion for each rank");
  }
  // A token, four numbers of 4 bytes and two of 8 each, as base64; and what a completion has besides.
  const double bytes = static_cast<double>(cut.completions) * (36.0 * static_cast<double>(context) + 200) * 4 / 3;
  if (cut.steps() > 1 && bytes > static_cast<double>(most_state_bytes)) {
    refuse(fmt::format("rollout.prompts: {} completions of up to {} tokens are too many for a checkpoint in the middle "
                       "of a rollout",
                       cut.completions, context),
           "take fewer prompts a rollout, or one step a rollout (rollout.epochs 1, rollout.mini_batches 1)");
  }
  return cut;
}

std::int64_t rollout_sequences(const Config& config, std::int64_t ranks) {
  if (config.rollout.sequences) return *config.rollout.sequences;
  const std::int64_t prompts = (config.rollout.prompts + ranks - 1) / ranks;
  return std::min(most_sequences, prompts * completions_of_a_prompt(config));
}

std::vector<ArenaPlan> rollout_plans(const Config& config, std::int64_t ranks, const Numerics& numerics) {
  return BatchGenerator::plans(config.model, config.head, rollout_sequences(config, ranks), numerics);
}

}  // namespace nll
