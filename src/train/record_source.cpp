#include "src/train/record_source.h"

#include <utility>

#include "kernels/check.h"
#include "src/train/shared_pace.h"

namespace nll {

RecordBatching record_batching(const Config& config, std::int64_t sequences, std::int64_t context, const World& world) {
  RecordBatching batching;
  batching.records_per_step = config.records.per_step;
  batching.sequences = sequences;
  batching.context = context;
  batching.seed = static_cast<std::uint64_t>(config.run.seed);
  batching.rank = world.rank;
  batching.ranks = world.size;
  batching.order = RecordOrder::shuffled;
  batching.prompt_targets = config.objective.kind == "orpo" && config.objective.orpo.nll_on_prompt;
  return batching;
}

RecordSource::RecordSource(RecordParts parts) : parts_(std::move(parts)), batches_(parts_.dataset, parts_.batching) {
  CHECK(parts_.batching.order == RecordOrder::shuffled);
  if (parts_.needs.reference_sums) CHECK(parts_.reference_sums != nullptr);
  if (parts_.needs.mismatched) {
    CHECK(parts_.scorer != nullptr);
    CHECK(parts_.reference != nullptr);
  }
}

bool RecordSource::next(std::int64_t, std::int64_t position, StepData& data) {
  data = {};
  data.samples = parts_.batching.records_per_step;
  data.batches.resize(static_cast<std::size_t>(batches_.micro_batches()));
  for (std::size_t i = 0; i < data.batches.size(); ++i) {
    StepBatch& step = data.batches[i];
    step.batch = batches_.micro_batch(position, static_cast<std::int64_t>(i));
    if (parts_.needs.reference_sums) step.reference_sums = parts_.reference_sums->rows(step.batch);
    if (parts_.needs.mismatched) step.mismatched = mismatched_batch(step.batch, parts_.dataset.padding());
  }
  if (!parts_.needs.mismatched) return true;
  SharedPace pace(parts_.collective, parts_.stop_requested, 1);
  return pace.run("log-probabilities of the reference", [&] {
    for (StepBatch& step : data.batches) {
      if (!pace.tick()) return;
      step.mismatched_reference_sums = mismatched_sums(*parts_.scorer, *parts_.reference, *step.mismatched);
    }
  });
}

}  // namespace nll
