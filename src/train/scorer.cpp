#include "src/train/scorer.h"

#include "kernels/check.h"
#include "src/objectives/step.h"
#include "src/train/chosen_rows.h"

namespace nll {
namespace {

// Slots of the arena, in the order of Scorer::plan.
enum { token_slot, row_slot, target_slot, value_slot };

}  // namespace

ScoredTokens TokenScores::view(const Batch& batch) const {
  return {batch.targets, logp, maximum, log_denominator, entropy, mean_logp, argmax};
}

ArenaPlan Scorer::plan(std::int64_t sequences, std::int64_t context) {
  const std::int64_t N = checked_product(sequences, context);
  ArenaPlan plan("scoring");
  plan.add("tokens", DType::i32, {N});
  plan.add("rows", DType::i32, {N});
  plan.add("targets", DType::i32, {N});
  plan.add("values", DType::f32, {N});
  return plan;
}

Scorer::Scorer(Gpt& gpt, Head& head, Device& device, Ops& ops, std::int64_t sequences, std::int64_t context)
    : gpt_(gpt), head_(head), device_(device), ops_(ops), arena_(device, plan(sequences, context)) {}

TokenScores Scorer::score(const GptTensors& weights, const Batch& batch, bool logp, bool values) {
  const std::int64_t N = batch.sequences * batch.context;
  const auto upload = [&](int slot, const std::vector<std::int32_t>& numbers) {
    const Tensor there = arena_[slot].slice(0, static_cast<std::int64_t>(numbers.size()));
    if (!numbers.empty()) device_.upload(there, numbers.data());
    return there;
  };
  CHECK(static_cast<std::int64_t>(batch.tokens.size()) == N);
  const Tensor tokens = upload(token_slot, batch.tokens).reshape({batch.sequences, batch.context});
  const ChosenRows chosen = logp ? chosen_rows(batch) : ChosenRows{};
  const bool wants_values = values && !weights.score.empty();
  TokenScores scores;
  Tensor hidden;
  if (!chosen.rows.empty() || wants_values) hidden = gpt_.forward(weights, tokens);
  if (logp) {
    if (!chosen.rows.empty()) {
      const Tensor rows = upload(row_slot, chosen.rows), targets = upload(target_slot, chosen.targets);
      head_.score(hidden, rows, targets, weights.wte, false);
    }
    const Tensor block = head_.statistics_block();
    std::vector<std::uint8_t> on_host(static_cast<std::size_t>(block.bytes()));
    if (!chosen.rows.empty()) device_.download(on_host.data(), block);
    scores = scores_of_rows(chosen.rows, on_host.data(), block.dim(1), N);
  }
  if (wants_values) {
    const Tensor there = arena_[value_slot].slice(0, N);
    ops_.scalar_head(there, hidden, weights.score);
    scores.values.resize(static_cast<std::size_t>(N));
    device_.download(scores.values.data(), there);
  }
  return scores;
}

std::vector<double> completion_sums(const Batch& batch, const std::vector<float>& logp) {
  CHECK(batch.sequence_info.size() == static_cast<std::size_t>(batch.sequences));
  std::vector<double> sums(batch.sequence_info.size(), 0.0);
  for (std::size_t row = 0; row < sums.size(); ++row) {
    const SequenceInfo& info = batch.sequence_info[row];
    if (info.record < 0) continue;
    const Positions at = completion_positions(info, batch.context);
    const std::size_t first = row * static_cast<std::size_t>(batch.context);
    for (std::size_t t = first + at.begin; t < first + at.end; ++t) {
      if (batch.targets[t] >= 0) sums[row] += static_cast<double>(logp[t]);
    }
  }
  return sums;
}

}  // namespace nll
