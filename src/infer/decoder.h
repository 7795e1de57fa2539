// Decoder: the forward pass of Gpt for one sequence that grows. Keys and values of what was read stay in a cache, so
// that each position is computed once.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/arena.h"
#include "kernels/ops.h"
#include "src/config/config.h"
#include "src/model/numerics.h"
#include "src/model/parameters.h"

namespace nll {

struct CacheSlots {
  std::vector<int> keys, values;  // of each layer, (1, context, C)
};
struct DecoderSlots {
  int tokens, residual, middle, norm, mean, rstd, qkv, attention, branch, pre, gelu;
};

class Decoder {
 public:
  static ArenaPlan plan_cache(const ModelConfig& model, const Numerics& numerics = {}, CacheSlots* slots = nullptr);
  // Activations of as many new positions as the context holds, shared by all layers.
  static ArenaPlan plan_activations(const ModelConfig& model, const Numerics& numerics = {},
                                    DecoderSlots* slots = nullptr);
  Decoder(const ModelConfig& model, Ops& ops, Device& device, const Numerics& numerics = {});

  std::int64_t position() const { return position_; }  // positions read so far
  bool full() const { return position_ == model_.context; }
  void reset() { position_ = 0; }
  // Reads S tokens as the next positions in one parallel pass; S >= 1 and position + S <= context. Returns their normed
  // hidden states (S,C), valid until the next read.
  Tensor read(const GptTensors& weights, std::span<const std::int32_t> tokens);

 private:
  ModelConfig model_;
  Ops& ops_;
  Device& device_;
  CacheSlots cache_slots_;
  DecoderSlots slots_;
  Arena cache_, activations_;
  std::int64_t position_ = 0;
};

}  // namespace nll
