// A rollout as a text in a checkpoint, for a run that goes on in the middle of it: JSON, the same at any number of
// ranks. docs/rewards.md.
#pragma once
#include <cstdint>
#include <string>

#include "src/train/rollout.h"

namespace nll {

// What must be the same for a rollout to be gone on with.
struct RolloutShape {
  std::string objective;
  std::int64_t prompts = 0, completions = 0;  // of a rollout, of a prompt
  std::int64_t epochs = 0, mini_batches = 0;
  std::int64_t vocabulary = 0, context = 0;
  std::int64_t records = 0;
  Needs needs{};
};

// Longer ones are not read, and a rollout that could become longer is not begun.
inline constexpr std::size_t most_state_bytes = std::size_t{1} << 31;

std::string rollout_state(const Rollout& rollout, const RolloutShape& shape);
// Throws Error(bad_data) led by `place` for a text that is damaged, Error(usage) that names the key for one of another
// shape.
Rollout parse_rollout_state(const std::string& state, const RolloutShape& shape, const std::string& place);

}  // namespace nll
