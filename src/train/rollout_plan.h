// What must be known of rollouts before anything is allocated.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/arena.h"
#include "src/config/config.h"
#include "src/model/numerics.h"
#include "src/text/record_dataset.h"
#include "src/train/rollout.h"

namespace nll {

// The longest sequence of a rollout: the longest prompt and rollout.max_tokens. Throws Error(usage) that names
// rollout.max_tokens where model.context has no room for it. Reads all records of a supervised dataset.
std::int64_t rollout_context(const Config& config, const RecordDataset& dataset);

// How rollouts are cut into steps of micro-batches of `sequences` x `context`. Throws Error(usage) that names the key
// for a rollout that `ranks` cannot share, or that is too large to be kept in a checkpoint.
RolloutCut rollout_cut(const Config& config, std::int64_t rank, std::int64_t ranks, std::int64_t sequences,
                       std::int64_t context);

// Texts that are written at a time on one rank: rollout.sequences; auto: all of the rank's, 64 at most.
std::int64_t rollout_sequences(const Config& config, std::int64_t ranks);
// Device memory of the generator.
std::vector<ArenaPlan> rollout_plans(const Config& config, std::int64_t ranks, const Numerics& numerics);

}  // namespace nll
