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

// Whether a head also works on chosen rows only, for which it needs memory of a chunk.
enum class RowChoice { all, chosen };

// Device memory of the head: logits, their gradients, and the statistics of all tokens of a micro-batch.
struct HeadSlots {
  int logits, dlogits;  // dlogits -1: in place
  int statistics;       // (8, tokens) in the order of head.cpp
  int chosen, dchosen;  // RowChoice::chosen: a chunk's rows of the hidden states, and their gradients
};

class Head {
 public:
  static HeadChunks chunks(const ModelConfig& model, const HeadConfig& head, std::int64_t tokens,
                           const Numerics& numerics = {});
  static ArenaPlan plan(const ModelConfig& model, const HeadConfig& head, std::int64_t tokens,
                        const Numerics& numerics = {}, HeadSlots* slots = nullptr, RowChoice choice = RowChoice::all);

  Head(const ModelConfig& model, const HeadConfig& head, Ops& ops, Device& device, std::int64_t tokens,
       const Numerics& numerics = {}, RowChoice choice = RowChoice::all);

  // Logits are divided by it, in everything but logits(). Above 0; 1 at first. Recorded work keeps what it had.
  void set_temperature(double temperature);

  // Statistics of all rows of hidden (N,C) against targets (N): valid until the next call.
  // `ranked` adds rank and sum_p2, which cost a pass over the logits.
  TokenStatistics score(Tensor hidden, Tensor targets, Tensor wte, bool ranked);
  // One pass: statistics, dhidden (N,C) and dwte (+)= for coefficients (N,4) that are known before the forward. The
  // gradients carry the factor `loss_scale` (1); empty: none.
  TokenStatistics train(Tensor dhidden, Tensor dwte, Into into, Tensor hidden, Tensor targets, Tensor coefficients,
                        Tensor wte, Tensor loss_scale = {});
  // The same of chosen rows only (RowChoice::chosen): rows (m) i32 on the device, ascending, none twice, 0 <= m <=
  // tokens; targets (m), coefficients (m,4). Statistics are the first m entries; what is behind them is of earlier
  // calls. All other rows of dhidden become 0. On a CPU with AVX a row's statistics are, bit for bit, those of all
  // other choices that hold it.
  TokenStatistics score(Tensor hidden, Tensor rows, Tensor targets, Tensor wte, bool ranked);
  TokenStatistics train(Tensor dhidden, Tensor dwte, Into into, Tensor hidden, Tensor rows, Tensor targets,
                        Tensor coefficients, Tensor wte, Tensor loss_scale);
  // The statistics of score() and train() as one block, rows of `tokens` (capacity) each: logp, maximum,
  // log_denominator, entropy, mean_logp, argmax (i32).
  static constexpr int block_rows = 6, finite_rows = 5;  // the first five must be finite
  Tensor statistics_block() const { return arena_[slots_.statistics].slice(0, block_rows); }
  // Logits (n, Vp) of n <= chunk rows, for sampling; after scale and softcap nothing has been applied yet.
  Tensor logits(Tensor hidden, Tensor wte);
  const HeadShape& shape() const { return shape_; }

 private:
  // Rows that a product of chosen rows has at least: from there on an element depends on its own row only (on a CPU).
  static constexpr std::int64_t chosen_rows = 24;

  // Rows over which a product of `count` chosen rows runs: at least so many, at most `capacity`.
  std::int64_t product_rows(std::int64_t count, std::int64_t capacity) const;
  // The chosen rows of a chunk, and zeros up to what its products run over.
  Tensor gather(Tensor hidden, Tensor rows) const;
  // Logits of rows [first, first + count) of these.
  Tensor logits_of_chosen(Tensor chosen, std::int64_t first, std::int64_t count, Tensor wte);
  TokenStatistics statistics(std::int64_t begin, std::int64_t count, bool ranked) const;

  Ops& ops_;
  Device& device_;
  bool gpu_;
  HeadShape shape_;
  HeadChunks chunks_;
  HeadSlots slots_;
  Arena arena_;
};

}  // namespace nll
