// What an objective says of held-out records under weights that stay as they are.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>

#include "src/dist/collective.h"
#include "src/objectives/objective.h"
#include "src/report/console.h"
#include "src/text/record_dataset.h"
#include "src/train/reference_sums.h"
#include "src/train/scorer.h"

namespace nll {

struct RecordEvaluation {
  const Objective& objective;
  const RecordDataset& dataset;
  std::int64_t records = 1024;  // the first so many, or all where there are fewer (evaluation.records)
  std::int64_t sequences = 1, context = 1024;
  bool prompt_targets = false;                    // orpo.nll_on_prompt
  const ReferenceSums* reference_sums = nullptr;  // of these records, where the objective needs them
  const GptTensors* reference = nullptr;          // kto
};

// The loss of all these records as if they were one optimizer step, its tokens and metrics: the same on all ranks and,
// to rounding, at any number of them. KTO's z0 is over all of them, each with the completion of the record half of all
// records away.
// None: somebody was asked to stop, which is looked at once a micro-batch. All ranks call it. `progress` is told
// records of all ranks.
std::optional<StepSums> evaluate_records(const RecordEvaluation& request, Scorer& scorer, const GptTensors& weights,
                                         Collective& collective, const std::function<bool()>& stop_requested,
                                         const Progress& progress = {});

}  // namespace nll
