// Sums of squares for the gradient norm, and AdamW.
#pragma once
#include "kernels/cpu/rows/vector.h"

namespace nll::cpu {
namespace {

// In double: the square of any finite float fits. Eight running sums, added in order.
double sum_of_squares_row(const float* x, std::int64_t n) {
  constexpr int half = width / 2;
  typedef float HalfFloats __attribute__((vector_size(width * 2)));
  typedef float UnalignedHalf __attribute__((vector_size(width * 2), aligned(4), may_alias));
  Doubles sum[4] = {};
  std::int64_t i = 0;
  for (; i + 4 * half <= n; i += 4 * half) {
    for (int j = 0; j < 4; ++j) {
      const HalfFloats part = *reinterpret_cast<const UnalignedHalf*>(x + i + j * half);
      const Doubles wide = __builtin_convertvector(part, Doubles);
      sum[j] += wide * wide;
    }
  }
  double total = 0;
  for (; i < n; ++i) total += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  const Doubles all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  for (int lane = 0; lane < half; ++lane) total += all[lane];
  return total;
}

void adamw_row(float* w, float* m, float* v, const float* gradient, std::int64_t n, const AdamWStep& step) {
  // A loop over scalars, which the compiler turns into vectors: they have a square root there.
  const AdamWStep s = step;
  float* __restrict weights = w;
  float* __restrict first = m;
  float* __restrict second = v;
  const float* __restrict gradients = gradient;
  for (std::int64_t i = 0; i < n; ++i) {
    const float g = gradients[i] * s.gradient_scale;
    const float m1 = s.beta1 * first[i] + (1.0f - s.beta1) * g;
    const float v1 = s.beta2 * second[i] + (1.0f - s.beta2) * (g * g);
    first[i] = m1;
    second[i] = v1;
    weights[i] = s.decay * weights[i] - s.rate * m1 / (__builtin_sqrtf(v1) * s.root + s.epsilon);
  }
}

}  // namespace
}  // namespace nll::cpu
