// Plan: everything a run will allocate and how it cuts its batches, decided before anything is allocated. `nll plan`
// prints it; the trainer builds exactly this.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/arena.h"
#include "src/config/config.h"
#include "src/model/numerics.h"
#include "src/model/parameters.h"
#include "src/optim/zero1.h"

namespace nll {

// What is known of records before they are cut into batches.
struct RecordShape {
  std::int64_t context = 0;  // T of a micro-batch: the longest sequence
  std::int64_t widest = 1;   // sequences of a record of the training data, at most
  std::int64_t least = 1;    // sequences that a micro-batch must hold: of held-out records too, kto: 2
};

struct TrainPlan {
  std::int64_t ranks = 1;
  std::int64_t samples_per_step = 0;    // of the global batch: sequences of text, records, or prompts of a rollout
  std::int64_t sequences = 0;           // of a micro-batch on one rank
  std::int64_t context = 0;             // T of a micro-batch
  std::int64_t widest = 1;              // sequences of a record, which a micro-batch holds whole
  std::int64_t sequences_per_rank = 0;  // of a step, at most
  std::int64_t micro_batches = 0;       // a step on one rank
  std::int64_t parameters = 0;          // as published
  Numerics numerics;
  double flops_per_token = 0;           // forward and backward, 6 N + 6 L C T
  std::vector<GradientBucket> buckets;  // in which gradients travel between ranks
  bool sharded = true;                  // each rank keeps its parts of the moments
  std::vector<ArenaPlan> arenas;        // in the order they are allocated, of the rank that owns most
  std::int64_t bytes() const;
  // Positions that a step computes on all ranks: of text its tokens, of records with their padding.
  std::int64_t positions_per_step() const { return ranks * micro_batches * sequences * context; }
  // What `rank` keeps the moments of.
  std::vector<OwnedSpan> owned(std::int64_t rank) const;
};

// `memory_bytes` limits the choice of `batch.sequences: auto`; 0: no limit is known. `records`: of objectives that
// learn from them, as far as the data is known; else they are taken to be as long as the config lets them be. Throws
// Error(usage) for a batch that cannot be cut evenly.
TrainPlan make_plan(const Config& config, std::int64_t ranks, std::int64_t memory_bytes, const Numerics& numerics = {},
                    const std::optional<RecordShape>& records = std::nullopt);

// Whether the objective compares with a reference model.
bool compares_with_reference(const Config& config);
// Whether the weights of a reference model stay in memory beside those that are trained.
bool keeps_reference(const Config& config);

// How the ranks of a run of this plan sum gradients.
Collective::Settings collective_settings(const Config& config, const std::vector<GradientBucket>& buckets);

// Throws Error(resources) that names the largest parts and the keys that make them smaller.
void check_memory(const TrainPlan& plan, std::int64_t available_bytes);

}  // namespace nll
