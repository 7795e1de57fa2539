// Scorer: log-probabilities of batches under weights that stay as they are: of a reference, of the policy that sampled,
// of held-out records. The same model, precision and batch shape as in training, so that the same weights give the same
// numbers.
#pragma once
#include <cstdint>
#include <vector>

#include "src/model/gpt.h"
#include "src/model/head.h"
#include "src/objectives/step.h"
#include "src/text/batch.h"

namespace nll {

// What the head says of (B,T) positions, on the host; zeros where the target is ignored.
struct TokenScores {
  std::vector<float> logp, maximum, log_denominator, entropy, mean_logp;
  std::vector<std::int32_t> argmax;
  std::vector<float> values;  // (B,T) of the scalar head at every position; empty without one

  // Views for a MicroBatch; they live as long as this and the batch.
  ScoredTokens view(const Batch& batch) const;
};

class Scorer {
 public:
  // Device memory: tokens, targets and values of a micro-batch. `sequences` x `context` at most.
  static ArenaPlan plan(std::int64_t sequences, std::int64_t context);
  // `gpt` (Pass::inference) and `head` (RowChoice::chosen, where logp is asked for) hold that many; they, device and
  // ops must outlive it.
  Scorer(Gpt& gpt, Head& head, Device& device, Ops& ops, std::int64_t sequences, std::int64_t context);

  // `values`: of weights.score, where the weights have it. `logp` false: the vocabulary plays no part, and only values
  // are filled.
  TokenScores score(const GptTensors& weights, const Batch& batch, bool logp = true, bool values = false);

 private:
  Gpt& gpt_;
  Head& head_;
  Device& device_;
  Ops& ops_;
  Arena arena_;
};

// Of each row, the sum of logp over the completion (SequenceInfo), first token first; 0 for fillers.
std::vector<double> completion_sums(const Batch& batch, const std::vector<float>& logp);

}  // namespace nll
