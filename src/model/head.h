// Head: the projection to the vocabulary (tied to wte) and cross-entropy as one thing. Logits are FP32 from the GEMM's
// accumulator to the softmax and exist for a few tokens at a time. Formulas: docs/head.md.
//
// In FP32 a chunk's logits become their gradient in place. In BF16 and FP16 the gradients of a chunk are kept in that
// type, and the FP32 logits of a slice of it live only as long as they stay in the GPU's cache: so the weight gradient
// is added to once a chunk, and no FP32 logit reaches the memory for long.
#pragma once
#include <cstdint>

#include "kernels/arena.h"
#include "kernels/ops.h"
#include "src/config/config.h"
#include "src/model/numerics.h"

namespace nll {

// Tokens that are worked on at a time.
struct HeadChunks {
  std::int64_t chunk = 0;   // gradients of the logits, and one addition to the weight gradient
  std::int64_t logits = 0;  // logits; at most a chunk
};

// Device memory of the head: logits, their gradients, and the statistics of all tokens of a micro-batch.
struct HeadSlots {
  int logits, dlogits;  // dlogits -1: in place
  int statistics;       // (8, tokens) in the order of head.cpp
};

class Head {
 public:
  static HeadChunks chunks(const ModelConfig& model, const HeadConfig& head, std::int64_t tokens,
                           const Numerics& numerics = {});
  static ArenaPlan plan(const ModelConfig& model, const HeadConfig& head, std::int64_t tokens,
                        const Numerics& numerics = {}, HeadSlots* slots = nullptr);

  Head(const ModelConfig& model, const HeadConfig& head, Ops& ops, Device& device, std::int64_t tokens,
       const Numerics& numerics = {});

  // Statistics of all rows of hidden (N,C) against targets (N): valid until the next call.
  // `ranked` adds rank and sum_p2, which cost a pass over the logits.
  TokenStatistics score(Tensor hidden, Tensor targets, Tensor wte, bool ranked);
  // One pass: statistics, dhidden (N,C) and dwte (+)= for coefficients (N,4) that are known before the forward. The
  // gradients carry the factor `loss_scale` (1); empty: none.
  TokenStatistics train(Tensor dhidden, Tensor dwte, Into into, Tensor hidden, Tensor targets, Tensor coefficients,
                        Tensor wte, Tensor loss_scale = {});
  // The statistics of score() and train() as one block, rows of `tokens` (capacity) each: logp, maximum,
  // log_denominator, entropy, mean_logp, argmax (i32).
  static constexpr int block_rows = 6, finite_rows = 5;  // the first five must be finite
  Tensor statistics_block() const { return arena_[slots_.statistics].slice(0, block_rows); }
  // Logits (n, Vp) of n <= chunk rows, for sampling; after scale and softcap nothing has been applied yet.
  Tensor logits(Tensor hidden, Tensor wte);
  const HeadShape& shape() const { return shape_; }

 private:
  TokenStatistics statistics(std::int64_t begin, std::int64_t count, bool ranked) const;

  Ops& ops_;
  HeadShape shape_;
  HeadChunks chunks_;
  HeadSlots slots_;
  Arena arena_;
};

}  // namespace nll
