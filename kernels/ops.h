// THE CONTENTS PAGE: everything that is ever computed on tensors, once, in the order a training step meets it, each op
// next to its backward. The model (src/model) speaks only to this; kernels/cpu and kernels/cuda implement it.
//
// B batch, T time, N = B*T tokens, C width, H heads, D = C/H, V vocabulary, Vp stored rows of it (>= V), I in, O out.
// Destinations come first. Every sum accumulates in FP32 or better, in a fixed order.
// `Into` says whether a gradient is written or added to. Ops may return before the work is done: Device orders it.
//
// Types. On a CPU everything is FP32. On a GPU tensors marked
//   T  the compute type: FP32, BF16 or FP16      activations, the weights that are multiplied, their gradients dx
//   R  the type of the residual stream: T or FP32
//   unmarked: FP32 (gradients of weights, norm weights, statistics, logits, optimizer), i32 where said
// Each op says which is which; all T of a call are equal.
#pragma once
#include <cstdint>
#include <string>

#include "kernels/tensor.h"

namespace nll {

enum class Into { write, add };
// In which order the parts of many ranks are added: ((0 + 1) + 2) + 3 ..., or (0 + 1) + (2 + 3) ..., the tree whose
// left half is the largest power of two.
enum class SumOrder { sequence, tree };

// Inverted dropout whose mask is a function of (seed, stream, row, column), so backward makes it again and nothing is
// stored. Element (i, c) of a (N, C) tensor uses word w = (first_row + i) * C + c of (seed, stream), which is
// philox(seed, stream, w / 4).word[w % 4]. It is kept, and scaled by 1 / (1 - rate), where unit_float(word) >= rate.
// rate 0 = identity; rate < 1.
struct Dropout {
  float rate = 0;
  std::uint64_t seed = 0;
  std::uint64_t stream = 0;    // random_stream(RandomPurpose::dropout, site and step)
  std::int64_t first_row = 0;  // index of row 0 in the global batch, so that a split of the batch changes nothing
  Tensor offset = {};          // one DropoutOffset in device memory; empty: none
};
// Added to Dropout's stream and first_row when the op runs: what changes from step to step, so that recorded work
// (Device::record) can be replayed as it is.
struct DropoutOffset {
  std::uint64_t stream = 0;
  std::int64_t first_row = 0;
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
  float beta1 = 0.9f, beta2 = 0.95f, epsilon = 1e-8f;
  float clip_norm = 0;                   // gradients are scaled by min(1, clip_norm / norm); 0 = no clipping
  std::int32_t loss_scale_interval = 0;  // FP16: the loss scale doubles after so many updates in a row; 0 = fixed at 1
  std::uint64_t seed = 0;                // of the stochastic rounding of BF16 moments
};

// The numbers of an update that change from step to step, in device memory: a recorded update reads them when it is
// replayed, and whether it is skipped is decided there. One a run; the host writes learning_rate before each update.
struct UpdateState {
  float learning_rate = 0;
  float loss_scale = 1;           // the gradients of this step carry this factor, a power of two
  std::int32_t updates = 0;       // applied so far
  std::int32_t good_updates = 0;  // in a row since the loss scale last changed
  // Set by begin_update:
  float norm = 0;             // of the gradients without the loss scale, before clipping; not finite: skipped
  float gradient_factor = 0;  // clip factor / loss scale
  float rate = 0;             // learning_rate / (1 - beta1^updates)
  float root = 0;             // 1 / sqrt(1 - beta2^updates)
};

struct Ops {
  virtual ~Ops() = default;

  // ---- embedding -------------------------------------- tokens (B,T) i32 in [0,V)   wte (Vp,C) T   wpe (context,C) T
  // x = dropout(wte[token] + wpe[position + t])                                                          x (B,T,C) R
  virtual void embedding(Tensor x, Tensor tokens, Tensor wte, Tensor wpe, std::int64_t position, const Dropout&) = 0;
  // dwte[token] += dropout'(dx); dwpe[t] (+)= dropout'(dx). dwte is always added to: the tied head wrote it before.
  // Into::write sets all of dwpe: rows from T on become 0.                                              dx (B,T,C) R
  virtual void embedding_backward(Tensor dwte, Tensor dwpe, Into wpe_into, Tensor dx, Tensor tokens,
                                  const Dropout&) = 0;

  // ---- linear --------------------------------- x (N,I) T   w (I,O) T as GPT-2   bias (O) T   dx, dy T   dw, dbias
  // FP32
  virtual void linear(Tensor y, Tensor x, Tensor w, Tensor bias) = 0;  // y = x w + bias
  // pre = x w + bias (kept for backward), y = gelu(pre) = pre/2 (1 + tanh(sqrt(2/pi) (pre + 0.044715 pre^3)))
  virtual void linear_gelu(Tensor y, Tensor pre, Tensor x, Tensor w, Tensor bias) = 0;
  // The same from a `pre` that was kept. On a GPU whose library makes y together with the product, that y is of the sum
  // before it was rounded to `pre`: the last bit of 16-bit numbers can differ.
  virtual void gelu(Tensor y, Tensor pre) = 0;
  // dx = dy w^T;  dw (+)= x^T dy;  dbias (+)= sum_N dy.                       An empty dx is not computed.
  virtual void linear_backward(Tensor dx, Tensor dw, Tensor dbias, Into into, Tensor dy, Tensor x, Tensor w) = 0;
  // The same for a layer whose input was y = gelu(pre): dpre = (dy w^T) * gelu'(pre), with x = that y. dpre may be pre.
  virtual void linear_backward_gelu(Tensor dpre, Tensor dw, Tensor dbias, Into into, Tensor dy, Tensor x, Tensor w,
                                    Tensor pre) = 0;

  // ---- norm --------------------------------------------- rows of C; mean, rstd (N); two-pass variance, epsilon 1e-5
  // x, residual, dx R;  y, branch, dy, dbranch T;  weight, bias, dweight, dbias, mean, rstd FP32
  virtual void layernorm(Tensor y, Tensor mean, Tensor rstd, Tensor x, Tensor weight, Tensor bias) = 0;
  // residual = x + dropout(branch);  y = layernorm(residual)
  virtual void residual_layernorm(Tensor residual, Tensor y, Tensor mean, Tensor rstd, Tensor x, Tensor branch,
                                  Tensor weight, Tensor bias, const Dropout&) = 0;
  // dx (+)= layernorm'(dy) at x;  dweight, dbias (+)= . Where dbranch is not empty it receives dropout'(dx), the
  // gradient of the branch that was added before the norm: not wanted where that is dx itself, in the same type.
  virtual void layernorm_backward(Tensor dx, Into dx_into, Tensor dbranch, const Dropout& branch_dropout,
                                  Tensor dweight, Tensor dbias, Into into, Tensor dy, Tensor x, Tensor weight,
                                  Tensor mean, Tensor rstd) = 0;

  // ---- attention ---------------------------------------------------- qkv (B,T,3C) T: q, k, v side by side, heads of
  // D inside each; causal. y (B,T,C) T = softmax(q k^T / sqrt(D)) v over keys <= query; lse (B,H,T) = its log-sum-exp.
  // No (T,T) buffer.
  virtual void attention(Tensor y, Tensor lse, Tensor qkv, std::int64_t heads) = 0;
  // dqkv is not qkv. dqkv, dy T.
  virtual void attention_backward(Tensor dqkv, Tensor dy, Tensor y, Tensor lse, Tensor qkv, std::int64_t heads) = 0;
  // Decoding: qkv (B,S,3C) holds S new positions that begin at `position`; their k, v are stored into the caches
  // (B,context,C) and y (B,S,C) attends to everything up to each of them. All T.
  virtual void attention_cached(Tensor y, Tensor k_cache, Tensor v_cache, Tensor qkv, std::int64_t position,
                                std::int64_t heads) = 0;

  // ---- head ------------------------------------------- h (n,C) T   wte (Vp,C) T   logits (n,Vp): one chunk of tokens
  // Logits are FP32; a GPU also takes T (the config's head.logits, for comparison with trainers that round them).
  virtual void head_logits(Tensor logits, Tensor h, Tensor wte) = 0;  // logits = h wte^T
  // Statistics of every row; ignored rows (targets = ignore_index) give zeros.
  virtual void cross_entropy(const TokenStatistics& statistics, Tensor logits, Tensor targets, const HeadShape&) = 0;
  // Statistics as above and dlogits (n,Vp) T = dloss/dlogits * loss_scale (1) (empty: 1); dlogits may be logits where
  // the types are equal. coefficients (n,4) = g_logp, g_lse, g_unif, g_ent:
  //   dL/du_j = p_j (A - g_ent lp_j) + g_unif / V + 1[j = y] g_logp,   A = -g_logp + g_lse - g_unif - g_ent Hn
  //   dL/dz_j = dL/du_j * inverse_temperature * (1 - (c_j / softcap)^2) * pre_scale
  // Rows that are ignored or have four zero coefficients, and columns >= V, become exactly 0.
  virtual void cross_entropy_backward(const TokenStatistics& statistics, Tensor dlogits, Tensor logits, Tensor targets,
                                      Tensor coefficients, Tensor loss_scale, const HeadShape&) = 0;
  // dh (n,C) T = dlogits wte;  dwte (+)= dlogits^T h
  virtual void head_backward(Tensor dh, Tensor dwte, Into into, Tensor dlogits, Tensor h, Tensor wte) = 0;

  // ---- chosen rows ----------------------------------- rows (m) i32 in [0,n): those of (n,C) that matter; m may be 0
  // Other rows are CHECKed for on a CPU; a GPU gathers NaN for them and scatters them nowhere.
  // out (m,C) T: out[i] = in[rows[i]].                                                                     in (n,C) T
  virtual void gather_rows(Tensor out, Tensor in, Tensor rows) = 0;
  // out (n,C) T: out[rows[i]] (+)= in[i]; Into::write also sets all other rows of out to 0, Into::add leaves them.
  // rows ascend, none twice.                                                                               in (m,C) T
  virtual void scatter_rows(Tensor out, Into into, Tensor in, Tensor rows) = 0;

  // ---- scalar head ---------------------------- values, dvalues (n)   h, dh (n,C) T   weight, dweight (C): one number
  // for each token, of a reward or value model
  // values[i] = sum_c h[i,c] weight[c]
  virtual void scalar_head(Tensor values, Tensor h, Tensor weight) = 0;
  // With g = dvalues * loss_scale (1) (empty: 1): dh (+)= g weight, rounded once; dweight (+)= sum_i g[i] h[i], in an
  // order that depends on n only. Tokens whose dvalues is 0 take no part. An empty dh or dweight is not computed.
  virtual void scalar_head_backward(Tensor dh, Into dh_into, Tensor dweight, Into into, Tensor dvalues, Tensor h,
                                    Tensor weight, Tensor loss_scale) = 0;

  // ---- update ------------------------------------------------------------------------ flat arenas of n elements
  // to = from, in the type of `to`, rounded to nearest even. FP32 to T or T to FP32.
  virtual void convert(Tensor to, Tensor from) = 0;
  // guard (1) (+)= 0 where all values are finite, NaN otherwise. One that is NaN stays so.
  virtual void find_nonfinite(Tensor guard, Into into, Tensor values) = 0;
  // to += from, FP32.
  virtual void add(Tensor to, Tensor from) = 0;
  // sum (n) FP32 = parts (R,n) added up in `order` in FP32; parts FP32 or BF16. sum is none of them.
  virtual void sum_parts(Tensor sum, Tensor parts, SumOrder order) = 0;
  // sums (ceil(n / norm_block)) f64 = sum of squares of each norm_block elements of values (n).
  static constexpr std::int64_t norm_block = 4096;
  virtual void square_sums(Tensor sums, Tensor values) = 0;
  // norm (1) = sqrt of the sum of sums (n) f64, in a fixed order that depends on n only; non-finite where any is.
  virtual void norm(Tensor norm, Tensor sums) = 0;
  // Decides about the update that follows, from `norm` (1) of the gradients as they are (loss scale and all) and
  // `guard` (1). Finite: updates += 1, and the factors of adamw are set. Not finite: state.norm is not finite, and
  // adamw does nothing. state: one UpdateState.
  virtual void begin_update(Tensor state, Tensor norm, Tensor guard, const AdamW&) = 0;
  // For a span of the arena, from element `first` of it: m, v (FP32, on a GPU also BF16, then rounded stochastically:
  // words of element i: philox(seed, updates so far, i)), w by AdamW (Loshchilov and Hutter, 2019) with
  // decoupled `weight_decay`. `rounded` (T) receives the new w rounded to nearest even (empty: not wanted).
  virtual void adamw(Tensor w, Tensor rounded, Tensor m, Tensor v, Tensor gradients, float weight_decay,
                     std::int64_t first, Tensor state, const AdamW&) = 0;
  // After the last span: the next step's loss scale. Halved (to 1 at least) after a skipped update, doubled (to 2^24 at
  // most) after loss_scale_interval good ones in a row.
  virtual void end_update(Tensor state, const AdamW&) = 0;
};

}  // namespace nll
