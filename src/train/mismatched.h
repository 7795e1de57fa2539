// KTO's mismatched records: the prompt of one record and the completion of another.
//   T context
#pragma once
#include <cstdint>
#include <vector>

#include "src/text/batch.h"
#include "src/train/scorer.h"

namespace nll {

// Row `to` of `out` becomes the prompt of row i of `prompts` and, behind it, the completion of row j of `completions`,
// of which those tokens are targets that are so there. What does not fit T is cut off at the end; where no target is
// left the row becomes a filler. All three have the same T.
void put_mismatched(Batch& out, std::size_t to, const Batch& prompts, std::size_t i, const Batch& completions,
                    std::size_t j);
// The shape of `like` with nothing but fillers of `padding`.
Batch fillers(const Batch& like, std::int32_t padding);
// Each row with the completion of its partner (mismatched_rows of src/objectives/kto.h). Throws Error(usage) for
// micro-batches of one sequence.
Batch mismatched_batch(const Batch& batch, std::int32_t padding);

// The sums that KTO compares, of the policy or of the reference: NaN for fillers.
std::vector<double> mismatched_sums(Scorer& scorer, const GptTensors& weights, const Batch& mismatched);
std::vector<double> mismatched_sums(const Batch& mismatched, const std::vector<float>& logp);

}  // namespace nll
