// Micro-batches of records. The position in the data is one integer, the number of records consumed; which records an
// optimizer step has depends on (seed, position) alone, so they are the same at any number of ranks.
#pragma once
#include <cstdint>
#include <vector>

#include "src/text/batch.h"
#include "src/text/record_dataset.h"

namespace nll {

enum class RecordOrder {
  shuffled,  // each epoch all records in another order
  once       // as in the files, and none after the last: for evaluation
};

struct RecordBatching {
  std::int64_t records_per_step = 1;  // over all ranks
  std::int64_t sequences = 1;         // B of a micro-batch; at least the sequences of a record
  std::int64_t context = 1024;        // T; at least the tokens of a sequence
  std::uint64_t seed = 0;
  std::int64_t rank = 0, ranks = 1;
  RecordOrder order = RecordOrder::shuffled;
  bool prompt_targets = false;  // the tokens of prompts are targets too, in sequences of role 0
};

// Keeps no state: any micro-batch of any step, by any thread.
class RecordBatches {
 public:
  // Throws Error(usage) where the micro-batch or the context is too small for the records. The dataset must live as
  // long.
  RecordBatches(const RecordDataset& dataset, const RecordBatching& batching);

  // Micro-batches of a step on each rank: the same number on all ranks and in all steps.
  std::int64_t micro_batches() const;
  // Micro-batch `index` of this rank in the step that begins at `position`. Its sequences are `sequences` in number;
  // those of a record follow each other and are all in it; fillers (record -1, no targets) are at its end. The target
  // at t is token t + 1 where that is to be predicted, else ignore_index; what follows a sequence is padding.
  Batch micro_batch(std::int64_t position, std::int64_t index) const;
  // The records of this rank in that step, in their order.
  std::vector<std::int64_t> records(std::int64_t position) const;

 private:
  const RecordDataset& dataset_;
  RecordBatching batching_;
};

}  // namespace nll
