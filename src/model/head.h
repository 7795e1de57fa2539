// Head: the projection to the vocabulary (tied to wte) and cross-entropy as one thing. Logits are FP32 from the GEMM's
// accumulator to the softmax and exist for one chunk of tokens at a time. Formulas: docs/head.md.
#pragma once
#include <cstdint>

#include "kernels/arena.h"
#include "kernels/ops.h"
#include "src/config/config.h"

namespace nll {

// Device memory of the head: one chunk of logits and the statistics of all tokens of a micro-batch.
struct HeadSlots {
  int logits;
  int logp, maximum, log_denominator, entropy, mean_logp, sum_p2, argmax, rank;
};

class Head {
 public:
  // Tokens a chunk holds: the config's, or as many whole 128s as keep its logits near 64 MiB.
  static std::int64_t chunk_tokens(const ModelConfig& model, const HeadConfig& head, std::int64_t tokens);
  static ArenaPlan plan(const ModelConfig& model, const HeadConfig& head, std::int64_t tokens,
                        HeadSlots* slots = nullptr);

  Head(const ModelConfig& model, const HeadConfig& head, Ops& ops, Device& device, std::int64_t tokens);

  // Statistics of all rows of hidden (N,C) against targets (N): valid until the next call.
  // `ranked` adds rank and sum_p2, which cost a pass over the logits.
  TokenStatistics score(Tensor hidden, Tensor targets, Tensor wte, bool ranked);
  // One pass: statistics, dhidden (N,C) and dwte (+)= for coefficients (N,4) that are known before the forward.
  TokenStatistics train(Tensor dhidden, Tensor dwte, Into into, Tensor hidden, Tensor targets, Tensor coefficients,
                        Tensor wte);
  // Logits (n, Vp) of n <= chunk rows, for sampling; after scale and softcap nothing has been applied yet.
  Tensor logits(Tensor hidden, Tensor wte);
  const HeadShape& shape() const { return shape_; }

 private:
  TokenStatistics statistics(std::int64_t begin, std::int64_t count, bool ranked) const;

  Ops& ops_;
  HeadShape shape_;
  std::int64_t chunk_;
  HeadSlots slots_;
  Arena arena_;
};

}  // namespace nll
