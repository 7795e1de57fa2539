// Decoder: the forward pass of Gpt for sequences that grow. Keys and values of what was read stay in a cache, so that
// each position is computed once. Sequences may have any lengths: one reads a piece of text in a parallel pass, and
// step() reads one token of each of several in one pass.
//
// What a sequence gives does not depend on the others: on a CPU with AVX2 or AVX-512 not in one bit, because the
// products of a step have at least `step_rows` rows, from where on an element depends on its own row alone; elsewhere
// to rounding.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "kernels/arena.h"
#include "kernels/ops.h"
#include "src/config/config.h"
#include "src/model/numerics.h"
#include "src/model/parameters.h"

namespace nll {

struct CacheSlots {
  std::vector<int> keys, values;  // of each layer, (sequences, context, C)
};
struct DecoderSlots {
  int tokens, residual, middle, norm, mean, rstd, qkv, attention, branch, pre, gelu;
};

class Decoder {
 public:
  // Rows that a step of several sequences has at least; fewer tokens are filled up with rows that mean nothing.
  static constexpr std::int64_t step_rows = 24;

  static ArenaPlan plan_cache(const ModelConfig& model, const Numerics& numerics = {}, CacheSlots* slots = nullptr,
                              std::int64_t sequences = 1);
  // Activations of as many new positions as the context holds or a step has, shared by all layers.
  static ArenaPlan plan_activations(const ModelConfig& model, const Numerics& numerics = {},
                                    DecoderSlots* slots = nullptr, std::int64_t sequences = 1);
  Decoder(const ModelConfig& model, Ops& ops, Device& device, const Numerics& numerics = {},
          std::int64_t sequences = 1);

  std::int64_t sequences() const { return static_cast<std::int64_t>(positions_.size()); }
  // Positions of a sequence that were read so far.
  std::int64_t position(std::int64_t sequence = 0) const { return positions_.at(static_cast<std::size_t>(sequence)); }
  bool full(std::int64_t sequence = 0) const { return position(sequence) == model_.context; }
  void reset(std::int64_t sequence = 0) { positions_.at(static_cast<std::size_t>(sequence)) = 0; }
  // Reads S tokens as the next positions of one sequence in one parallel pass; S >= 1 and position + S <= context.
  // Returns their normed hidden states (S,C), valid until the next read or step.
  Tensor read(const GptTensors& weights, std::span<const std::int32_t> tokens, std::int64_t sequence = 0);
  // Reads tokens[i] as the next position of sequence i, of the first n = tokens.size() >= 1 sequences, none of which is
  // full. Returns normed hidden states (max(n, step_rows), C), valid until the next read or step; the first n count.
  Tensor step(const GptTensors& weights, std::span<const std::int32_t> tokens);
  // Sequence `to` becomes what `from` was after its first `positions` positions.
  void copy(std::int64_t to, std::int64_t from, std::int64_t positions);

 private:
  // The layers over the first `rows` embedded rows; `attend` computes attention of one layer. Returns the normed rows.
  Tensor layers(const GptTensors& weights, std::int64_t rows, const std::function<void(std::size_t layer)>& attend);

  ModelConfig model_;
  Ops& ops_;
  Device& device_;
  CacheSlots cache_slots_;
  DecoderSlots slots_;
  Arena cache_, activations_;
  std::vector<std::int64_t> positions_;
};

}  // namespace nll
