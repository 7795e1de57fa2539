// RecordSource: optimizer steps on records, with what the reference model says of them.
//   B sequences of a micro-batch, T context
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "src/dist/collective.h"
#include "src/objectives/objective.h"
#include "src/text/record_batches.h"
#include "src/train/mismatched.h"
#include "src/train/reference_sums.h"
#include "src/train/scorer.h"
#include "src/train/step_source.h"

namespace nll {

// How training records are cut into micro-batches of `sequences` x `context`.
RecordBatching record_batching(const Config& config, std::int64_t sequences, std::int64_t context, const World& world);

// What the source works with. All of it must live as long.
struct RecordParts {
  const RecordDataset& dataset;
  RecordBatching batching;
  Needs needs;  // of the objective
  Collective& collective;
  std::function<bool()> stop_requested{};
  const ReferenceSums* reference_sums = nullptr;  // where needs says so
  // Where needs.mismatched says so: the weights of the reference, and what scores B x T under them.
  Scorer* scorer = nullptr;
  const GptTensors* reference = nullptr;
};

class RecordSource : public StepSource {
 public:
  explicit RecordSource(RecordParts parts);
  // A function of position alone.
  bool next(std::int64_t step, std::int64_t position, StepData& data) override;
  std::int64_t micro_batches() const { return batches_.micro_batches(); }

 private:
  RecordParts parts_;
  RecordBatches batches_;
};

}  // namespace nll
