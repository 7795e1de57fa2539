// GELU in its tanh form and its derivative: x/2 (1 + tanh t) = x / (1 + e^-2t), 2t = x (c1 + c3 x^2). Beyond |x| = 10
// it is x or 0 to single precision, and the clamp keeps x^3 finite; a NaN stays one.
#pragma once
#include <cuda_runtime.h>

namespace nll::cuda {

inline constexpr float gelu_c1 = 1.5957691216057308f;   // 2 sqrt(2 / pi)
inline constexpr float gelu_c3 = 0.07135481282847229f;  // 0.044715 of that

__device__ inline float clamp_for_gelu(float x) { return x > 10.0f ? 10.0f : x < -10.0f ? -10.0f : x; }

__device__ inline float gelu(float x) {
  const float c = clamp_for_gelu(x);
  return x / (1.0f + expf(-c * (gelu_c1 + gelu_c3 * c * c)));
}

__device__ inline float gelu_derivative(float x) {
  const float c = clamp_for_gelu(x);
  const float e = expf(-c * (gelu_c1 + gelu_c3 * c * c));
  const float s = 1.0f / (1.0f + e);
  return s + c * (e * s * s) * (gelu_c1 + 3.0f * gelu_c3 * c * c);
}

}  // namespace nll::cuda
