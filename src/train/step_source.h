// StepSource: where the micro-batches of optimizer steps come from: token files, records, or rollouts of the model.
//   B sequences of a micro-batch, T context
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/objectives/objective.h"
#include "src/text/batch.h"

namespace nll {

// A micro-batch and what was known of it before its forward pass. Empty: the objective does not need it (Needs).
struct StepBatch {
  Batch batch;
  std::vector<float> old_logp, old_values, reference_logp;  // (B,T), entry t of what position t predicts
  std::vector<double> reference_sums, advantages;           // (B)
  std::vector<double> token_advantages, returns;            // (B,T)
  // KTO: row i has the prompt of row i and another record's completion; a filler where there is none.
  std::optional<Batch> mismatched;
  std::vector<double> mismatched_reference_sums;  // (B), NaN for fillers

  // As an objective sees it, before it is scored.
  MicroBatch view() const;
};

// This rank's part of an optimizer step. The number of micro-batches is the same on all ranks and in all steps.
struct StepData {
  std::vector<StepBatch> batches;
  std::int64_t samples = 0;      // by which the step moves the position in the data, of all ranks together
  std::int64_t gold_tokens = 0;  // mixer: leading tokens of each completion that are gold
  Metrics metrics;               // of this rank, beside those of the objective: of a rollout
};

class StepSource {
 public:
  virtual ~StepSource() = default;
  // The data of optimizer step `step` (from 0), which begins at `position` in the data: a function of these, the seed,
  // restored state and, where texts are sampled, the weights. False: it was asked to stop inside and nothing happened.
  // All ranks call it in step.
  virtual bool next(std::int64_t step, std::int64_t position, StepData& data) = 0;
  // Whether next() reads the weights: then no step may be queued ahead of it.
  virtual bool reads_weights() const { return false; }
  // Takes the last next() back: its step did not count. All ranks call it.
  virtual void take_back() {}
  // What a checkpoint must hold to go on from here besides position and weights: a text for all ranks together, the
  // same whatever their number; empty: nothing. All ranks call it.
  virtual std::string state() { return {}; }
  // Takes such a text, before the first next(). `place` is for errors.
  virtual void restore(const std::string& state, const std::string& place);
};

}  // namespace nll
