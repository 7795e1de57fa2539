// LayerNorm of one row: statistics in two passes over a row that stays in L1.
#pragma once
#include "kernels/cpu/rows/math.h"

namespace nll::cpu {
namespace {

constexpr float norm_epsilon = 1e-5f;

// Sum over a row of term(at), by two running vectors. Lanes outside the row must be 0.
template <class Term>
NLL_INLINE float row_sum(std::int64_t n, Term&& term) {
  Floats even{}, odd{};
  std::int64_t i = 0;
  for (; i + 2 * width <= n; i += 2 * width) {
    even += term(Whole{i});
    odd += term(Whole{i + width});
  }
  if (i + width <= n) {
    even += term(Whole{i});
    i += width;
  }
  if (i < n) {
    const Floats last = term(Part{i, n - i});
    odd += first_lanes(n - i) ? last : Floats{};
  }
  return sum_lanes(even + odd);
}

void layernorm_row(float* y, float* mean_out, float* rstd_out, const float* x, const float* weight, const float* bias,
                   std::int64_t n) {
  const float count = static_cast<float>(n);
  const float mean = row_sum(n, [&](auto at) NLL_BODY { return at.get(x); }) / count;
  const float variance = row_sum(n,
                                 [&](auto at) NLL_BODY {
                                   const Floats d = at.get(x) - mean;
                                   return d * d;
                                 }) /
                         count;
  const float rstd = 1.0f / __builtin_sqrtf(variance + norm_epsilon);
  for_vectors(n, [&](auto at) NLL_BODY { at.put(y, (at.get(x) - mean) * rstd * at.get(weight) + at.get(bias)); });
  *mean_out = mean;
  *rstd_out = rstd;
}

void residual_layernorm_row(float* residual, float* y, float* mean, float* rstd, const float* x, const float* branch,
                            const float* factor, const float* weight, const float* bias, std::int64_t n) {
  if (factor == nullptr) {
    for_vectors(n, [&](auto at) NLL_BODY { at.put(residual, at.get(x) + at.get(branch)); });
  } else {
    for_vectors(n, [&](auto at) NLL_BODY { at.put(residual, at.get(x) + at.get(branch) * at.get(factor)); });
  }
  layernorm_row(y, mean, rstd, residual, weight, bias, n);
}

// dx = rstd (g - mean(g) - xhat mean(g xhat)),  g = dy weight,  xhat = (x - mean) rstd
void layernorm_backward_row(float* dx, bool accumulate, float* dweight, float* dbias, const float* dy, const float* x,
                            const float* weight, float mean, float rstd, std::int64_t n) {
  const float count = static_cast<float>(n);
  Floats sum_g[2] = {}, sum_gx[2] = {};
  std::int64_t i = 0;
  const auto add_sums = [&](auto at, int which) NLL_BODY {
    const Floats d = at.get(dy);
    const Floats xhat = (at.get(x) - mean) * rstd;
    const Floats g = d * at.get(weight);  // 0 in lanes outside the row, as dy and weight are
    sum_g[which] += g;
    sum_gx[which] += g * xhat;
    at.put(dweight, at.get(dweight) + d * xhat);
    at.put(dbias, at.get(dbias) + d);
  };
  for (; i + 2 * width <= n; i += 2 * width) {
    add_sums(Whole{i}, 0);
    add_sums(Whole{i + width}, 1);
  }
  for (; i + width <= n; i += width) add_sums(Whole{i}, 0);
  if (i < n) add_sums(Part{i, n - i}, 1);
  const float mean_g = sum_lanes(sum_g[0] + sum_g[1]) / count;
  const float mean_gx = sum_lanes(sum_gx[0] + sum_gx[1]) / count;
  for_vectors(n, [&](auto at) NLL_BODY {
    const Floats xhat = (at.get(x) - mean) * rstd;
    const Floats d = (at.get(dy) * at.get(weight) - mean_g - xhat * mean_gx) * rstd;
    at.put(dx, accumulate ? at.get(dx) + d : d);
  });
}

}  // namespace
}  // namespace nll::cpu
