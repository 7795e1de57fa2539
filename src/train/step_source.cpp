#include "src/train/step_source.h"

#include "kernels/check.h"

namespace nll {

MicroBatch StepBatch::view() const {
  MicroBatch seen;
  seen.batch = &batch;
  seen.old_logp = old_logp;
  seen.old_values = old_values;
  seen.reference_logp = reference_logp;
  seen.reference_sums = reference_sums;
  seen.mismatched_reference_sums = mismatched_reference_sums;
  seen.advantages = advantages;
  seen.token_advantages = token_advantages;
  seen.returns = returns;
  return seen;
}

void StepSource::restore(const std::string& state, const std::string& place) {
  if (state.empty()) return;
  throw Error(Exit::bad_data, place + ": holds the rest of a rollout, which this objective has no use for",
              "go on with the objective that the checkpoint was saved with");
}

}  // namespace nll
