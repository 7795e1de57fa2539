#include "src/train/chosen_rows.h"

#include "src/model/head.h"

namespace nll {

ChosenRows chosen_rows(const Batch& batch) {
  ChosenRows chosen;
  for (std::size_t i = 0; i < batch.targets.size(); ++i) {
    if (batch.targets[i] < 0) continue;
    chosen.rows.push_back(static_cast<std::int32_t>(i));
    chosen.targets.push_back(batch.targets[i]);
  }
  return chosen;
}

TokenScores scores_of_rows(std::span<const std::int32_t> rows, const void* block, std::int64_t capacity,
                           std::int64_t positions) {
  TokenScores scores;
  const auto* reals = static_cast<const float*>(block);
  std::size_t row = 0;
  for (std::vector<float>* to :
       {&scores.logp, &scores.maximum, &scores.log_denominator, &scores.entropy, &scores.mean_logp}) {
    to->assign(static_cast<std::size_t>(positions), 0.0f);
    const float* from = reals + static_cast<std::int64_t>(row++) * capacity;
    for (std::size_t i = 0; i < rows.size(); ++i) (*to)[static_cast<std::size_t>(rows[i])] = from[i];
  }
  scores.argmax.assign(static_cast<std::size_t>(positions), 0);
  const auto* argmax = reinterpret_cast<const std::int32_t*>(reals + Head::finite_rows * capacity);
  for (std::size_t i = 0; i < rows.size(); ++i) scores.argmax[static_cast<std::size_t>(rows[i])] = argmax[i];
  return scores;
}

TokenScores scores_of_block(const void* block, std::int64_t positions) {
  TokenScores scores;
  const auto* reals = static_cast<const float*>(block);
  for (std::vector<float>* to :
       {&scores.logp, &scores.maximum, &scores.log_denominator, &scores.entropy, &scores.mean_logp}) {
    to->assign(reals, reals + positions);
    reals += positions;
  }
  const auto* argmax = reinterpret_cast<const std::int32_t*>(reals);
  scores.argmax.assign(argmax, argmax + positions);
  return scores;
}

}  // namespace nll
