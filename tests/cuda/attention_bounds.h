// Attention and its gradient in FP64, each element with a bound on the error that a computation may have whose factors
// are of a 16-bit type and whose sums are in FP32.
#pragma once
#include "tests/cuda/attention_rows.h"

namespace nll::test {

struct Bounded {
  Reals value, bound;
};

struct BoundedAttention {
  Bounded y, lse;  // (B,T,C), (B,H,T)
};
struct AttentionDims {
  std::int64_t batch, time, heads, head_size;
  std::int64_t width() const { return heads * head_size; }
};

// With u = unit_of(type), e = 2^-24 and sums of n FP32 terms off by 2 n e times the sum of magnitudes (the hardware
// may cut where it could round):
//   s_ij   off by   ds_ij = 2 D e sum_d |q_id k_jd| / sqrt(D)
//   p_ij   off by a factor 1 + x_i,  x_i = max_j (ds_ij + 4 e |s_ij|) + (2 T + 16) e, which includes its denominator
//          and its rescalings; and by u more, and near 0 by a smallest step, for being rounded to the type
//   y_id   off by   (u + 2 x_i) sum_j p_ij |v_jd|,  and u |y_id| for its own rounding
//   lse_i  off by   x_i + 4 e |lse_i|
BoundedAttention bounded_attention(const Reals& qkv, const AttentionDims& dims, DType type);

// For the y and lse that the backward is given. With x_i as above, and 4 e |lse_i| more in it:
//   dv_jd  off by   (u + 2 x_i) sum_i p_ij |dy_id|,  and u |dv_jd|
//   dS_ij = p_ij (dP_ij - D_i), off by   (u + 2 x_i) |dS_ij| + p_ij 2 D e sum_d (|dy_id v_jd| + |dy_id y_id|)
//   dk_jd  off by   sum_i (that of dS_ij) |q_id| / sqrt(D),  and u |dk_jd|;  dq_id likewise with k
Bounded bounded_attention_gradient(const Reals& qkv, const Reals& dy, const Attention& forward,
                                   const AttentionDims& dims, DType type);

void expect_within(const Reals& actual, const Bounded& expected);

}  // namespace nll::test
