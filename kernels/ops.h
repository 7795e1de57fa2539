// THE CONTENTS PAGE: everything that is ever computed on tensors, once, in the order a training step meets it, each op
// next to its backward. The model (src/model) speaks only to this; kernels/cpu and kernels/cuda implement it.
//
// B batch, T time, N = B*T tokens, C width, H heads, D = C/H, V vocabulary, Vp stored rows of it (>= V), I in, O out.
// Destinations come first. FP32 unless said; every sum accumulates in FP32 or better, in a fixed order.
// `Into` says whether a gradient is written or added to. Ops may return before the work is done: Device orders it.
#pragma once
#include <cstdint>
#include <string>

#include "kernels/tensor.h"

namespace nll {

enum class Into { write, add };

// Inverted dropout whose mask is a function of (seed, stream, row, column), so backward makes it again and nothing is
// stored. Element (i, c) of a (N, C) tensor uses word w = (first_row + i) * C + c of (seed, stream), which is
// philox(seed, stream, w / 4).word[w % 4]. It is kept, and scaled by 1 / (1 - rate), where unit_float(word) >= rate.
// rate 0 = identity; rate < 1.
struct Dropout {
  float rate = 0;
  std::uint64_t seed = 0;
  std::uint64_t stream = 0;    // random_stream(RandomPurpose::dropout, site and step)
  std::int64_t first_row = 0;  // index of row 0 in the global batch, so that a split of the batch changes nothing
};

// Per-token by-products of the head, each (N) FP32 except argmax and rank (N) i32. An empty tensor is not computed.
// Rows whose target is ignored hold zeros. Formulas: docs/head.md (u = logits after scale, softcap and temperature).
struct TokenStatistics {
  Tensor logp;             // (u_y - m) - ln d
  Tensor maximum;          // m = max_j u_j
  Tensor log_denominator;  // ln d, d = sum_j e^(u_j - m); kept apart from m so that lse loses nothing
  Tensor entropy;          // -sum_j p_j lp_j
  Tensor mean_logp;        // (1/V) sum_j lp_j
  Tensor sum_p2;           // sum_j p_j^2 (Brier)
  Tensor argmax;           // lowest index among the maxima
  Tensor rank;             // 1 + #{u_j > u_y} + #{j < y: u_j = u_y}
};

struct HeadShape {
  std::int64_t vocabulary = 0;  // V: columns beyond it (padding) take no part and get gradient 0
  float pre_scale = 1;          // s: x = s z
  float softcap = 0;            // C: c = C tanh(x / C); 0 = off
  float inverse_temperature = 1;
};

inline constexpr std::int32_t ignore_index = -100;

struct AdamW {
  float learning_rate = 0, beta1 = 0.9f, beta2 = 0.95f, epsilon = 1e-8f;
  float clip_norm = 0;    // gradients are scaled by min(1, clip_norm / norm); 0 = no clipping
  std::int64_t step = 1;  // 1 for the first update: bias corrections are 1 - beta^step
};

struct Ops {
  virtual ~Ops() = default;

  // ---- embedding ------------------------------------------ tokens (B,T) i32 in [0,V)   wte (Vp,C)   wpe (context,C)
  // x = dropout(wte[token] + wpe[position + t])                                                            x (B,T,C)
  virtual void embedding(Tensor x, Tensor tokens, Tensor wte, Tensor wpe, std::int64_t position, const Dropout&) = 0;
  // dwte[token] += dropout'(dx); dwpe[t] (+)= dropout'(dx). dwte is always added to: the tied head wrote it before.
  // Into::write sets all of dwpe: rows from T on become 0.
  virtual void embedding_backward(Tensor dwte, Tensor dwpe, Into wpe_into, Tensor dx, Tensor tokens,
                                  const Dropout&) = 0;

  // ---- linear --------------------------------------------------------------- x (N,I)   w (I,O) as GPT-2   bias (O)
  virtual void linear(Tensor y, Tensor x, Tensor w, Tensor bias) = 0;  // y = x w + bias
  // pre = x w + bias (kept for backward), y = gelu(pre) = pre/2 (1 + tanh(sqrt(2/pi) (pre + 0.044715 pre^3)))
  virtual void linear_gelu(Tensor y, Tensor pre, Tensor x, Tensor w, Tensor bias) = 0;
  // dx = dy w^T;  dw (+)= x^T dy;  dbias (+)= sum_N dy.                       An empty dx is not computed.
  virtual void linear_backward(Tensor dx, Tensor dw, Tensor dbias, Into into, Tensor dy, Tensor x, Tensor w) = 0;
  // The same for a layer whose input was y = gelu(pre): dpre = (dy w^T) * gelu'(pre), with x = that y. dpre may be pre.
  virtual void linear_backward_gelu(Tensor dpre, Tensor dw, Tensor dbias, Into into, Tensor dy, Tensor x, Tensor w,
                                    Tensor pre) = 0;

  // ---- norm --------------------------------------------- rows of C; mean, rstd (N); two-pass variance, epsilon 1e-5
  virtual void layernorm(Tensor y, Tensor mean, Tensor rstd, Tensor x, Tensor weight, Tensor bias) = 0;
  // residual = x + dropout(branch);  y = layernorm(residual)
  virtual void residual_layernorm(Tensor residual, Tensor y, Tensor mean, Tensor rstd, Tensor x, Tensor branch,
                                  Tensor weight, Tensor bias, const Dropout&) = 0;
  // dx (+)= layernorm'(dy) at x;  dweight, dbias (+)= . With a `branch_dropout` of rate > 0 it also writes
  // dbranch = dropout'(dx), the gradient of the branch that was added before the norm (dbranch empty: not wanted). With
  // rate 0 that gradient is dx itself and dbranch is left alone.
  virtual void layernorm_backward(Tensor dx, Into dx_into, Tensor dbranch, const Dropout& branch_dropout,
                                  Tensor dweight, Tensor dbias, Into into, Tensor dy, Tensor x, Tensor weight,
                                  Tensor mean, Tensor rstd) = 0;

  // ---- attention ------------------------ qkv (B,T,3C): q, k, v side by side, heads of D inside each; causal;
  // 1/sqrt(D) y (B,T,C) = softmax(q k^T / sqrt(D)) v over keys <= query; lse (B,H,T) = its log-sum-exp. No (T,T)
  // buffer.
  virtual void attention(Tensor y, Tensor lse, Tensor qkv, std::int64_t heads) = 0;
  // dqkv is not qkv.
  virtual void attention_backward(Tensor dqkv, Tensor dy, Tensor y, Tensor lse, Tensor qkv, std::int64_t heads) = 0;
  // Decoding: qkv (B,S,3C) holds S new positions that begin at `position`; their k, v are stored into the caches
  // (B,context,C) and y (B,S,C) attends to everything up to each of them.
  virtual void attention_cached(Tensor y, Tensor k_cache, Tensor v_cache, Tensor qkv, std::int64_t position,
                                std::int64_t heads) = 0;

  // ---- head ------------------------------------------------ h (n,C)   wte (Vp,C)   logits (n,Vp): one chunk of
  // tokens
  virtual void head_logits(Tensor logits, Tensor h, Tensor wte) = 0;  // logits = h wte^T
  // Statistics of every row; ignored rows (targets = ignore_index) give zeros.
  virtual void cross_entropy(const TokenStatistics& statistics, Tensor logits, Tensor targets, const HeadShape&) = 0;
  // Statistics as above and, in place, logits <- dloss/dlogits. coefficients (n,4) = g_logp, g_lse, g_unif, g_ent:
  //   dL/du_j = p_j (A - g_ent lp_j) + g_unif / V + 1[j = y] g_logp,   A = -g_logp + g_lse - g_unif - g_ent Hn
  //   dL/dz_j = dL/du_j * inverse_temperature * (1 - (c_j / softcap)^2) * pre_scale
  // Rows that are ignored or have four zero coefficients, and columns >= V, become exactly 0.
  virtual void cross_entropy_backward(const TokenStatistics& statistics, Tensor logits, Tensor targets,
                                      Tensor coefficients, const HeadShape&) = 0;
  // dh = dlogits wte;  dwte (+)= dlogits^T h
  virtual void head_backward(Tensor dh, Tensor dwte, Into into, Tensor dlogits, Tensor h, Tensor wte) = 0;

  // ---- update ------------------------------------------------------------------------ flat arenas of n elements
  // norm (1) = sqrt(sum of squares), in a fixed order that depends on n only; non-finite where any element is.
  virtual void global_norm(Tensor norm, Tensor gradients) = 0;
  // For a span of the arena: m, v, w by AdamW (Loshchilov and Hutter, 2019) with decoupled `weight_decay`. The gradient
  // is scaled by the clip factor of `norm` (1). A non-finite norm leaves w, m and v untouched.
  virtual void adamw(Tensor w, Tensor m, Tensor v, Tensor gradients, Tensor norm, float weight_decay, const AdamW&) = 0;
};

}  // namespace nll
