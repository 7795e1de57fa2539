// The gradient of one row of logits, by the block that has its sums (cross_entropy_row.cuh).
#pragma once
#include "kernels/cuda/cross_entropy_row.cuh"

namespace nll::cuda {

// dL/dz_j = (e^x (each - per_log (x - log_d)) + uniform) * derivative(z_j) with x = u_j - m, the target's apart.
struct RowGradient {
  float maximum, log_denominator, each, per_log, uniform;
};

template <bool capped, bool with_entropy>
__device__ inline float gradient_of(const RowGradient& row, const LogitTransform& transform, float z) {
  const float x = transform.apply<capped>(z) - row.maximum;
  float slope = row.each;
  if constexpr (with_entropy) slope -= row.per_log * (fmaxf(x, lowest_exponent) - row.log_denominator);
  const float e = exp2_approximate(x * 1.44269504f);
  return fmaf(e, slope, row.uniform) * transform.derivative<capped>(z);
}

// Of the chunk at `base`; `whole`: all its columns are of the vocabulary.
template <bool whole, bool capped, bool with_entropy, class Logit, class Gradient, int n>
__device__ inline void write_chunk(Gradient* to, const LogitRow<Logit, n>& row, int base, int stored,
                                   const RowGradient& gradient, const LogitTransform& transform) {
  using Row = LogitRow<Logit, n>;
  Pack<Logit, n> z[Row::packs];
  row.template read_again<whole>(z, base, stored);
#pragma unroll
  for (int k = 0; k < Row::packs; ++k) {
    const int column = Row::column(base, k * n);
    Pack<Gradient, n> out;
#pragma unroll
    for (int i = 0; i < n; ++i) {
      const float value = gradient_of<capped, with_entropy>(gradient, transform, to_float(z[k].at[i]));
      out.at[i] = from_float<Gradient>(whole || column + i < row.vocabulary ? value : 0.0f);
    }
    if (whole || column < stored) store_pack(to + column, out);
  }
}

// The gradient of all columns but the target's; zeros from V on.
template <bool capped, bool with_entropy, class Logit, class Gradient, int n>
__device__ inline void write_gradient(Gradient* to, const LogitRow<Logit, n>& row, int stored,
                                      const RowGradient& gradient, const LogitTransform& transform) {
  const int chunk = LogitRow<Logit, n>::chunk();
  int base = 0;
  for (; base + chunk <= row.vocabulary; base += chunk) {
    write_chunk<true, capped, with_entropy>(to, row, base, stored, gradient, transform);
  }
  for (; base < stored; base += chunk) {
    write_chunk<false, capped, with_entropy>(to, row, base, stored, gradient, transform);
  }
}

template <int n, class Gradient>
__device__ inline void write_zeros(Gradient* to, int stored) {
  Pack<Gradient, n> zeros;
#pragma unroll
  for (int i = 0; i < n; ++i) zeros.at[i] = from_float<Gradient>(0.0f);
  for (int column = static_cast<int>(threadIdx.x) * n; column < stored; column += static_cast<int>(blockDim.x) * n) {
    store_pack(to + column, zeros);
  }
}

}  // namespace nll::cuda
