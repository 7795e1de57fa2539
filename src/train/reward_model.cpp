#include "src/train/reward_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "kernels/check.h"
#include "kernels/ops.h"

namespace nll {
namespace {

// The vocabulary plays no part in a reward; a head that makes logits of one token at a time is small.
HeadConfig smallest(HeadConfig head) {
  head.chunk_tokens = 1;
  head.logits_tokens = 1;
  return head;
}

OpenModel checked(OpenModel model, const Tokenizer& tokenizer, std::int64_t context) {
  const auto refuse = [&](const std::string& what, const char* hint) {
    throw Error(Exit::usage, fmt::format("reward.model: {} {}", model.folder, what), hint);
  };
  if (model.weights.score.empty()) {
    refuse("has no scalar head (score.weight)", "train one by objective.kind \"reward\"");
  }
  if (!model.tokenizer) refuse("has no tokenizer.json", "it must be the tokenizer of this run");
  if (model.tokenizer->hash() != tokenizer.hash()) {
    refuse("has another tokenizer than this run", "train the reward model from the same base model");
  }
  if (model.published.model.context < context) {
    refuse(
        fmt::format("reads {} tokens, and prompt and completion may have {}", model.published.model.context, context),
        "a smaller rollout.max_tokens, or a reward model with a longer context");
  }
  return model;
}

}  // namespace

std::vector<ArenaPlan> RewardModel::plans(const PublishedModel& model, const Numerics& numerics, std::int64_t sequences,
                                          std::int64_t context) {
  return {Gpt::plan(model.model, sequences, context, Pass::inference, numerics),
          Head::plan(model.model, smallest(model.head), sequences * context, numerics),
          Scorer::plan(sequences, context)};
}

RewardModel::RewardModel(OpenModel model, const Tokenizer& tokenizer, Device& device, Ops& ops, std::int64_t sequences,
                         std::int64_t context)
    : model_(checked(std::move(model), tokenizer, context)),
      sequences_(sequences),
      context_(context),
      gpt_(model_.published.model, ops, device, sequences, context, Pass::inference, model_.numerics),
      head_(model_.published.model, smallest(model_.published.head), ops, device, sequences * context, model_.numerics),
      scorer_(gpt_, head_, device, ops, sequences, context) {}

std::vector<double> RewardModel::operator()(std::span<const RewardRequest> requests) {
  std::vector<double> rewards(requests.size(), std::numeric_limits<double>::quiet_NaN());
  const auto B = static_cast<std::size_t>(sequences_), T = static_cast<std::size_t>(context_);
  for (std::size_t begin = 0; begin < requests.size(); begin += B) {
    const std::size_t count = std::min(B, requests.size() - begin);
    Batch batch;
    batch.sequences = sequences_;
    batch.context = context_;
    batch.tokens.assign(B * T, 0);
    batch.targets.assign(B * T, ignore_index);
    batch.sequence_info.resize(B);
    for (std::size_t row = 0; row < count; ++row) {
      const std::vector<std::int32_t>& ids = requests[begin + row].ids;
      if (ids.size() > T) {
        throw Error(Exit::bad_data,
                    fmt::format("{}: prompt and completion of {} tokens for a reward model that reads {}",
                                requests[begin + row].place, ids.size(), T),
                    "a smaller rollout.max_tokens, or shorter prompts");
      }
      std::copy(ids.begin(), ids.end(), batch.tokens.begin() + static_cast<std::ptrdiff_t>(row * T));
      batch.sequence_info[row] = {.record = 0, .tokens = static_cast<std::int64_t>(ids.size())};
    }
    const TokenScores scores = scorer_.score(model_.weights, batch, false, true);
    for (std::size_t row = 0; row < count; ++row) {
      const std::size_t tokens = requests[begin + row].ids.size();
      if (tokens == 0) continue;
      const double reward = static_cast<double>(scores.values[row * T + tokens - 1]);
      if (!std::isfinite(reward)) {
        throw Error(Exit::bad_data, fmt::format("reward.model: {} gave the reward {}", model_.folder, reward));
      }
      rewards[begin + row] = reward;
    }
  }
  return rewards;
}

}  // namespace nll
