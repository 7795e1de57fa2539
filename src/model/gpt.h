// Gpt: the transformer of GPT-2, written once over Ops. One parallel pass over (B,T) forward, one back.
// Radford et al. 2019; learned positions, LayerNorm before each block, GELU (tanh), biases, head tied to the embedding.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/arena.h"
#include "kernels/ops.h"
#include "src/model/numerics.h"
#include "src/model/parameters.h"

namespace nll {

// Which dropout masks a pass uses: a function of the run's seed, the optimizer step and the position in the global
// batch.
struct DropoutKey {
  std::uint64_t seed = 0;
  std::int64_t step = 0;
  std::int64_t first_row = 0;  // first sequence of this micro-batch in the global batch, times T
  // Recorded passes: step and first_row are 0 above, and what stands for them is read from this DropoutOffset in device
  // memory when the pass is replayed.
  Tensor offset = {};
};

enum class Pass { training, inference };  // inference keeps nothing for a backward pass

// What the backward pass computes again instead of keeping it of every layer (Chen et al. 2016), each with what is
// before it. Rows of C a layer keeps at least: 16, 12, 10, 1.
//   gelu   the output of GELU, from its input
//   norm   the outputs of both LayerNorms, from theirs
//   block  everything between two blocks, from the residual stream: a forward pass more, less one product
enum class Recompute { none, gelu, norm, block };
// "none", "gelu", "norm", "block".
Recompute recompute_of(const std::string& name);

// Slots of the activation arena. In Pass::inference all layers share theirs; in training those that are recomputed.
struct LayerActivations {
  int residual, ln1, ln1_mean, ln1_rstd, qkv, attention, lse, middle, ln2, ln2_mean, ln2_rstd, pre, gelu;
};
struct ActivationSlots {
  std::vector<LayerActivations> layers;
  int residual, final, final_mean, final_rstd;      // after the last block
  int branch;                                       // output of a block's half before it joins the residual
  int dhidden, dresidual, dnorm, dattention, dqkv;  // gradients; Pass::training only
  int dbranch;                                      // -1: is dresidual
  int dpre;                                         // -1: takes the place of `pre`
};

class Gpt {
 public:
  // The activations of `sequences` sequences of `context` tokens.
  static ArenaPlan plan(const ModelConfig& model, std::int64_t sequences, std::int64_t context, Pass pass,
                        const Numerics& numerics = {}, Recompute recompute = Recompute::none,
                        ActivationSlots* slots = nullptr);
  // What stands for (step, first_row) of a DropoutKey in its `offset`.
  static DropoutOffset dropout_offset(const ModelConfig& model, std::int64_t step, std::int64_t first_row);

  Gpt(const ModelConfig& model, Ops& ops, Device& device, std::int64_t sequences, std::int64_t context, Pass pass,
      const Numerics& numerics = {}, Recompute recompute = Recompute::none);

  // tokens (B,T) i32 with B <= sequences and T <= context. Returns the normed hidden states (B*T, C), which stay valid
  // until the next forward. Without a key there is no dropout.
  Tensor forward(const GptTensors& weights, Tensor tokens, const DropoutKey* key = nullptr);
  // The same cut at layers, for weights that arrive one after the other: begin_forward, forward_layers over [0, L) in
  // any pieces, hidden(). Layers [begin, end) also read the norm that follows them, layer `end`'s first or the final
  // one.
  void begin_forward(const GptTensors& weights, Tensor tokens, const DropoutKey* key = nullptr);
  void forward_layers(const GptTensors& weights, std::int64_t begin, std::int64_t end);
  Tensor hidden() const { return rows(slots_.final); }

  // Where the head may write the gradient of what the last forward returned.
  Tensor dhidden() const {
    CHECK(pass_ == Pass::training);
    return rows(slots_.dhidden);
  }
  // dhidden (B*T, C) of the last forward. Gradients are written or added to, except wte, which is always added to: the
  // tied head has written it. Overwrites activations.
  void backward(const GptTensors& weights, const GptTensors& gradients, Into into, Tensor dhidden);
  // The same cut at layers, for gradients that are sent off while others are made: begin_backward (the final norm),
  // backward_layers over [0, L) in any pieces from the last down, end_backward (the embedding).
  void begin_backward(const GptTensors& weights, const GptTensors& gradients, Into into, Tensor dhidden);
  void backward_layers(const GptTensors& weights, const GptTensors& gradients, Into into, std::int64_t begin,
                       std::int64_t end);
  void end_backward(const GptTensors& gradients, Into into);

 private:
  void forward_to_gelu(const GptTensors& weights, std::int64_t l);  // from the first norm's output
  void recompute(const GptTensors& weights, std::int64_t l);
  Dropout dropout(int site) const;
  Tensor rows(int slot) const;                      // the slot cut to the B*T rows of this pass
  Tensor at(int slot, std::int64_t width) const;    // (B,T,width)
  Tensor lse(const LayerActivations& layer) const;  // (B,H,T)
  Tensor masked() const;                            // where a branch's gradient goes; empty: is dresidual

  ModelConfig model_;
  Ops& ops_;
  Pass pass_;
  Recompute recompute_;
  ActivationSlots slots_;
  Arena arena_;
  Tensor tokens_;
  std::int64_t B_ = 0, T_ = 0;
  bool use_dropout_ = false;
  bool same_types_ = true;  // a branch and the residual stream have one type
  DropoutKey key_;
};

// Numbers of one forward and backward pass, by the project's one definition: 6 N + 6 L C T per token (causal
// attention), N all parameters with the vocabulary as stored.
double training_flops_per_token(const ModelConfig& model, std::int64_t context);

}  // namespace nll
