// Rows of elementwise work, and sums of columns.
#pragma once
#include "kernels/cpu/rows/math.h"

namespace nll::cpu {
namespace {

void exponential_row(float* y, const float* x, std::int64_t n) {
  for_vectors(n, [&](auto at) NLL_BODY { at.put(y, exponential(at.get(x))); });
}
void hyperbolic_tangent_row(float* y, const float* x, std::int64_t n) {
  for_vectors(n, [&](auto at) NLL_BODY { at.put(y, hyperbolic_tangent(at.get(x))); });
}
void add_row(float* y, const float* a, const float* b, std::int64_t n) {
  for_vectors(n, [&](auto at) NLL_BODY { at.put(y, at.get(a) + at.get(b)); });
}
void bias_gelu_row(float* y, float* pre, const float* bias, std::int64_t n) {
  for_vectors(n, [&](auto at) NLL_BODY {
    Floats x = at.get(pre);
    if (bias != nullptr) {
      x = x + at.get(bias);
      at.put(pre, x);
    }
    at.put(y, gelu(x));
  });
}
void gelu_backward_row(float* dpre, const float* dy, const float* pre, std::int64_t n) {
  for_vectors(n, [&](auto at) NLL_BODY { at.put(dpre, at.get(dy) * gelu_derivative(at.get(pre))); });
}
void multiply_row(float* y, const float* a, const float* b, std::int64_t n, bool accumulate) {
  if (accumulate) {
    for_vectors(n, [&](auto at) NLL_BODY { at.put(y, at.get(y) + at.get(a) * at.get(b)); });
  } else {
    for_vectors(n, [&](auto at) NLL_BODY { at.put(y, at.get(a) * at.get(b)); });
  }
}

// Sums of at most `group` rows first, so that the error grows with the number of groups and not of rows.
void column_sums(float* sum, const float* x, std::int64_t rows, std::int64_t n, std::int64_t x_stride,
                 bool accumulate) {
  constexpr std::int64_t group = 128;
  const auto add_columns = [&](auto at) NLL_BODY {
    Floats total = accumulate ? at.get(sum) : Floats{};
    for (std::int64_t begin = 0; begin < rows; begin += group) {
      const std::int64_t end = begin + group < rows ? begin + group : rows;
      Floats part{};
      for (std::int64_t row = begin; row < end; ++row) part += at.get(x + row * x_stride);
      total += part;
    }
    at.put(sum, total);
  };
  // Four vectors side by side use whole cache lines of each row they touch.
  std::int64_t column = 0;
  for (; column + 4 * width <= n; column += 4 * width) {
    Floats total[4];
    for (int i = 0; i < 4; ++i) total[i] = accumulate ? load(sum + column + i * width) : Floats{};
    for (std::int64_t begin = 0; begin < rows; begin += group) {
      const std::int64_t end = begin + group < rows ? begin + group : rows;
      Floats part[4] = {};
      for (std::int64_t row = begin; row < end; ++row) {
        for (int i = 0; i < 4; ++i) part[i] += load(x + row * x_stride + column + i * width);
      }
      for (int i = 0; i < 4; ++i) total[i] += part[i];
    }
    for (int i = 0; i < 4; ++i) store(sum + column + i * width, total[i]);
  }
  for (; column + width <= n; column += width) add_columns(Whole{column});
  if (column < n) add_columns(Part{column, n - column});
}

}  // namespace
}  // namespace nll::cpu
