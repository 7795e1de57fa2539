#include "src/train/mismatched.h"

#include <algorithm>
#include <limits>

#include "kernels/check.h"
#include "kernels/ops.h"
#include "src/objectives/kto.h"

namespace nll {

void put_mismatched(Batch& out, std::size_t to, const Batch& prompts, std::size_t i, const Batch& completions,
                    std::size_t j) {
  CHECK(out.context == prompts.context);
  CHECK(out.context == completions.context);
  const SequenceInfo& own = prompts.sequence_info[i];
  const SequenceInfo& other = completions.sequence_info[j];
  const std::int64_t T = out.context, prompt = own.prompt_tokens;
  const std::int64_t length = std::min(T - prompt, other.tokens - other.prompt_tokens);
  const auto at = [T](std::size_t row, std::int64_t t) {
    return static_cast<std::size_t>(static_cast<std::int64_t>(row) * T + t);
  };
  bool any = false;
  for (std::int64_t k = 0; k < length; ++k) {
    any = any || completions.targets[at(j, other.prompt_tokens + k - 1)] >= 0;
  }
  if (!any) return;
  for (std::int64_t t = 0; t < prompt; ++t) out.tokens[at(to, t)] = prompts.tokens[at(i, t)];
  for (std::int64_t k = 0; k < length; ++k) {
    out.tokens[at(to, prompt + k)] = completions.tokens[at(j, other.prompt_tokens + k)];
    out.targets[at(to, prompt + k - 1)] = completions.targets[at(j, other.prompt_tokens + k - 1)];
  }
  SequenceInfo& info = out.sequence_info[to];
  info = own;
  info.tokens = prompt + length;
}

Batch fillers(const Batch& like, std::int32_t padding) {
  Batch empty;
  empty.sequences = like.sequences;
  empty.context = like.context;
  const auto positions = static_cast<std::size_t>(like.sequences * like.context);
  empty.tokens.assign(positions, padding);
  empty.targets.assign(positions, ignore_index);
  empty.sequence_info.resize(static_cast<std::size_t>(like.sequences));
  return empty;
}

Batch mismatched_batch(const Batch& batch, std::int32_t padding) {
  Batch out = fillers(batch, padding);
  const std::vector<std::optional<std::size_t>> partners = mismatched_rows(batch);
  for (std::size_t row = 0; row < partners.size(); ++row) {
    if (partners[row]) put_mismatched(out, row, batch, row, batch, *partners[row]);
  }
  return out;
}

std::vector<double> mismatched_sums(const Batch& mismatched, const std::vector<float>& logp) {
  std::vector<double> sums = completion_sums(mismatched, logp);
  for (std::size_t row = 0; row < sums.size(); ++row) {
    if (mismatched.sequence_info[row].record < 0) sums[row] = std::numeric_limits<double>::quiet_NaN();
  }
  return sums;
}

std::vector<double> mismatched_sums(Scorer& scorer, const GptTensors& weights, const Batch& mismatched) {
  return mismatched_sums(mismatched, scorer.score(weights, mismatched).logp);
}

}  // namespace nll
