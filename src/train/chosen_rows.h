// The positions of a micro-batch that go through the head: those that have a target.
//   B sequences, T context, N = B*T positions, m of them with a target
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "src/text/batch.h"
#include "src/train/scorer.h"

namespace nll {

struct ChosenRows {
  std::vector<std::int32_t> rows;     // (m), ascending
  std::vector<std::int32_t> targets;  // (m)
};
ChosenRows chosen_rows(const Batch& batch);

// The scores of a micro-batch from Head::statistics_block(), whose rows have `capacity` numbers; of them the first m
// are those of the chosen rows.
TokenScores scores_of_rows(std::span<const std::int32_t> rows, const void* block, std::int64_t capacity,
                           std::int64_t positions);

// The same where all N positions went through the head.
TokenScores scores_of_block(const void* block, std::int64_t positions);

}  // namespace nll
