// The scalar head: one number for each token.                                                        n tokens, C width
//   values[i] = sum_c h[i,c] weight[c];   g = dvalues * loss_scale;   dh[i] (+)= g[i] weight,  dweight (+)= sum_i g[i]
//   h[i]
// Bytes: 4 n C forward; backward as much for each gradient, less for tokens without one. Values are summed in doubles,
// in an order that depends on C only; dweight token by token, each thread having columns of its own.
#include <algorithm>

#include "kernels/cpu/cpu_ops.h"

namespace nll::cpu {
namespace {

constexpr int lanes = 8;

float dot(const float* a, const float* b, std::int64_t n) {
  double sums[lanes] = {};
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    for (int lane = 0; lane < lanes; ++lane) sums[lane] += static_cast<double>(a[i + lane]) * b[i + lane];
  }
  double total = 0;
  for (; i < n; ++i) total += static_cast<double>(a[i]) * b[i];
  for (const double sum : sums) total += sum;
  return static_cast<float>(total);
}

// y (+)= factor * x
void scale(float* y, const float* x, float factor, std::int64_t n, bool accumulate) {
  if (accumulate) {
    for (std::int64_t i = 0; i < n; ++i) y[i] += factor * x[i];
  } else {
    for (std::int64_t i = 0; i < n; ++i) y[i] = factor * x[i];
  }
}

}  // namespace

void CpuOps::scalar_head(Tensor values, Tensor h, Tensor weight) {
  const std::int64_t n = values.size(), width = weight.size();
  const float* in = expect_rows(h, "h", n, width);
  const float* factors = weight.as<float>();
  float* out = values.as<float>();
  team_->for_each_part(n, 1, [&](Range part, int) {
    for (std::int64_t i = part.begin; i < part.end; ++i) out[i] = dot(in + i * width, factors, width);
  });
}

void CpuOps::scalar_head_backward(Tensor dh, Into dh_into, Tensor dweight, Into into, Tensor dvalues, Tensor h,
                                  Tensor weight, Tensor loss_scale) {
  const std::int64_t n = dvalues.size(), width = weight.size();
  const float* in = expect_rows(h, "h", n, width);
  const float *factors = weight.as<float>(), *gradient = dvalues.as<float>();
  float* input_gradient = dh.empty() ? nullptr : expect_rows(dh, "dh", n, width);
  float* weight_gradient = dweight.empty() ? nullptr : expect_size(dweight, "dweight", width);
  const float scaled = loss_scale.empty() ? 1 : *expect_size(loss_scale, "loss_scale", 1);
  if (input_gradient != nullptr) {
    team_->for_each_part(n, 1, [&](Range part, int) {
      for (std::int64_t i = part.begin; i < part.end; ++i) {
        if (gradient[i] != 0) {
          scale(input_gradient + i * width, factors, gradient[i] * scaled, width, dh_into == Into::add);
        } else if (dh_into == Into::write) {
          std::fill_n(input_gradient + i * width, width, 0.0f);
        }
      }
    });
  }
  if (weight_gradient != nullptr) {
    team_->for_each_part(width, 16, [&](Range columns, int) {
      float* sum = weight_gradient + columns.begin;
      if (into == Into::write) std::fill_n(sum, columns.size(), 0.0f);
      for (std::int64_t i = 0; i < n; ++i) {
        if (gradient[i] != 0) scale(sum, in + i * width + columns.begin, gradient[i] * scaled, columns.size(), true);
      }
    });
  }
}

}  // namespace nll::cpu
