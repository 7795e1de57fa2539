// RowKernels: the vector code of the CPU ops, compiled once for each instruction set and chosen when the backend is
// made. The functions see plain pointers to FP32 and compute on the calling thread; rows are contiguous unless a stride
// is given, and may be of any length and alignment. Sums have an order that depends on lengths only.
#pragma once
#include <cstdint>

namespace nll::cpu {

// One row of the head. Symbols as in kernels/ops.h.
struct HeadRow {
  const float* logits = nullptr;  // (V) or more
  float* gradient = nullptr;      // (Vp), may be `logits`; null: statistics only
  float* scratch = nullptr;       // (V) floats of working space
  std::int64_t vocabulary = 0, stored = 0;
  std::int32_t target = 0;
  float pre_scale = 1, softcap = 0, inverse_temperature = 1;
  float g_logp = 0, g_lse = 0, g_unif = 0, g_ent = 0;
  bool want_sum_p2 = false, want_rank = false;
};

struct HeadRowStatistics {
  float logp = 0, maximum = 0, log_denominator = 0, entropy = 0, mean_logp = 0, sum_p2 = 0;
  std::int32_t argmax = 0, rank = 0;
};

// Queries of one (sequence, head). Query i is at position first_position + i and sees the keys at positions up to that.
struct AttentionHead {
  const float *q = nullptr, *k = nullptr, *v = nullptr;  // rows of `head_size`
  std::int64_t q_stride = 0, kv_stride = 0;
  std::int64_t queries = 0, first_position = 0, head_size = 0;
  float* y = nullptr;  // (queries, head_size)
  std::int64_t y_stride = 0;
  float* lse = nullptr;  // (queries), or null
  // Backward only, where first_position is 0: y and lse above are read; gradients have the strides of q and k.
  const float* dy = nullptr;
  float *dq = nullptr, *dk = nullptr, *dv = nullptr;
};

// A matrix product on one thread: c (rows, columns) = op(a) (rows, depth) op(b) (depth, columns) + beta c + bias.
struct ProductBlock {
  std::int64_t rows = 0, columns = 0, depth = 0;  // all positive
  const float* a = nullptr;
  std::int64_t a_stride = 0;
  bool a_transposed = false;  // stored (depth, rows)
  const float* b = nullptr;
  std::int64_t b_stride = 0;
  bool b_transposed = false;  // stored (columns, depth)
  float* c = nullptr;
  std::int64_t c_stride = 0;
  float beta = 0;               // 0: c is not read
  const float* bias = nullptr;  // (columns), or null
};

struct AdamWStep {
  float beta1, beta2, gradient_scale;
  float decay;  // 1 - learning_rate * weight_decay
  float rate;   // learning_rate / (1 - beta1^step)
  float root;   // 1 / sqrt(1 - beta2^step)
  float epsilon;
};

struct RowKernels {
  const char* instructions;

  // ---- elementwise ----
  void (*exponential)(float* y, const float* x, std::int64_t n);
  void (*hyperbolic_tangent)(float* y, const float* x, std::int64_t n);
  void (*add)(float* y, const float* a, const float* b, std::int64_t n);
  // pre += bias (null: none); y = gelu(pre)
  void (*bias_gelu)(float* y, float* pre, const float* bias, std::int64_t n);
  // dpre = dy * gelu'(pre)
  void (*gelu_backward)(float* dpre, const float* dy, const float* pre, std::int64_t n);
  // y (+)= a * b
  void (*multiply)(float* y, const float* a, const float* b, std::int64_t n, bool accumulate);
  // factor[i] = 0 or 1 / (1 - rate) by random word first_word + i of (seed, stream)
  void (*dropout_factors)(float* factor, std::int64_t n, std::uint64_t first_word, float rate, std::uint64_t seed,
                          std::uint64_t stream);
  // sum (+)= column sums of x (rows, n)
  void (*column_sums)(float* sum, const float* x, std::int64_t rows, std::int64_t n, std::int64_t x_stride,
                      bool accumulate);

  // ---- matrix product: null where this instruction set leaves it to OpenBLAS ----
  void (*product)(const ProductBlock& block, float* scratch);
  std::int64_t product_scratch;                // floats, aligned to 64 bytes
  std::int64_t product_rows, product_columns;  // of the micro-kernel's tile: good places to cut

  // ---- norm ----
  void (*layernorm)(float* y, float* mean, float* rstd, const float* x, const float* weight, const float* bias,
                    std::int64_t n);
  // residual = x + branch (* factor unless null), then the layernorm of that
  void (*residual_layernorm)(float* residual, float* y, float* mean, float* rstd, const float* x, const float* branch,
                             const float* factor, const float* weight, const float* bias, std::int64_t n);
  // dx (+)= ...; dweight, dbias += this row's share
  void (*layernorm_backward)(float* dx, bool accumulate, float* dweight, float* dbias, const float* dy, const float* x,
                             const float* weight, float mean, float rstd, std::int64_t n);

  // ---- attention: query blocks [first_block, last_block) of one head ----
  std::int64_t query_block;                                                                            // rows of one
  std::int64_t (*attention_scratch)(std::int64_t queries, std::int64_t keys, std::int64_t head_size);  // floats
  std::int64_t (*attention_backward_scratch)(std::int64_t queries, std::int64_t head_size);            // floats
  void (*attention)(const AttentionHead& head, std::int64_t first_block, std::int64_t last_block, float* scratch);
  // All of dq, dk, dv of one head; or, block by block, dq alone and dk with dv alone: the same bits either way.
  void (*attention_backward)(const AttentionHead& head, float* scratch);
  void (*attention_backward_queries)(const AttentionHead& head, std::int64_t first_block, std::int64_t last_block,
                                     float* scratch);
  void (*attention_backward_keys)(const AttentionHead& head, std::int64_t first_block, std::int64_t last_block,
                                  float* scratch);
  // One query against `keys` keys, without packing them; scratch of `keys` floats.
  void (*attention_row)(const AttentionHead& head, std::int64_t query, float* scratch);

  // ---- head, update ----
  HeadRowStatistics (*head_row)(const HeadRow& row);
  double (*sum_of_squares)(const float* x, std::int64_t n);
  void (*adamw)(float* w, float* m, float* v, const float* gradient, std::int64_t n, const AdamWStep& step);
};

// "avx512", "avx2", "generic"; best first, those of this processor only.
const char* const* supported_instructions(int* count);
// Null where this processor or this build has none of that name. "" = the best.
const RowKernels* row_kernels(const char* instructions);

}  // namespace nll::cpu
