// Linear layers.                             N tokens, I inputs, O outputs;  x (N,I)  w (I,O)  y, dy (N,O)  bias (O)
// Each thread owns one block of each product. It walks its block in panels of rows and finishes each panel (bias, GELU
// or the derivative of GELU) while it is in cache. Forward 2 N I O operations, backward twice that.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/cpu_ops.h"

namespace nll::cpu {
namespace {

// Rows of a panel: a panel of a few hundred columns stays in L2, and b is packed once a panel, which this amortises.
constexpr std::int64_t panel_rows = 1024;

struct LinearShape {
  std::int64_t n, inputs, outputs;
};

LinearShape linear_shape(const Tensor& x, const Tensor& w) {
  CHECK(w.rank() == 2);
  CHECK(x.last() == w.dim(0));
  return {x.rows(), w.dim(0), w.dim(1)};
}

// Calls panel(block) for the row panels of `block`.
template <class Panel>
void for_panels(const Block& block, Panel&& panel) {
  if (block.empty()) return;
  const std::int64_t panels = (block.rows.size() + panel_rows - 1) / panel_rows;
  for (int i = 0; i < static_cast<int>(panels); ++i) {
    const Range rows = part_of(block.rows.size(), 24, i, static_cast<int>(panels));
    if (rows.size() > 0) panel(Block{{block.rows.begin + rows.begin, block.rows.begin + rows.end}, block.columns});
  }
}

}  // namespace

void CpuOps::linear(Tensor y, Tensor x, Tensor w, Tensor bias) {
  const auto [n, inputs, outputs] = linear_shape(x, w);
  float* out = expect_rows(y, "y", n, outputs);
  const float* b = bias.empty() ? nullptr : expect_size(bias, "bias", outputs);
  const Gemm gemm{Product::nn, n, outputs, inputs, x.as<float>(), inputs, w.as<float>(), outputs, out, outputs, 0};
  team_->run([&](int thread) {
    for_panels(block_of(gemm, thread), [&](const Block& block) { multiply(thread, gemm, block, b); });
  });
}

void CpuOps::linear_gelu(Tensor y, Tensor pre, Tensor x, Tensor w, Tensor bias) {
  const auto [n, inputs, outputs] = linear_shape(x, w);
  float* out = expect_rows(y, "y", n, outputs);
  float* kept = expect_rows(pre, "pre", n, outputs);
  const float* b = bias.empty() ? nullptr : expect_size(bias, "bias", outputs);
  const Gemm gemm{Product::nn, n, outputs, inputs, x.as<float>(), inputs, w.as<float>(), outputs, kept, outputs, 0};
  team_->run([&](int thread) {
    for_panels(block_of(gemm, thread), [&](const Block& block) {
      multiply(thread, gemm, block);
      for (std::int64_t i = block.rows.begin; i < block.rows.end; ++i) {
        const std::int64_t at = i * gemm.n + block.columns.begin;
        rows_.bias_gelu(out + at, kept + at, b == nullptr ? nullptr : b + block.columns.begin, block.columns.size());
      }
    });
  });
}

void CpuOps::gelu(Tensor y, Tensor pre) {
  const std::int64_t n = pre.rows(), width = pre.last();
  float *out = expect_rows(y, "y", n, width), *kept = pre.as<float>();
  team_->for_each_part(n, 1, [&](Range part, int) {
    for (std::int64_t i = part.begin; i < part.end; ++i)
      rows_.bias_gelu(out + i * width, kept + i * width, nullptr, width);
  });
}

void CpuOps::weight_gradient_part(int thread, float* dw, float* dbias, Into into, const float* dy, const float* x,
                                  std::int64_t n, std::int64_t inputs, std::int64_t outputs) {
  const bool accumulate = into == Into::add;
  if (dw != nullptr) {
    const Gemm gemm{Product::tn, inputs, outputs, n, x, inputs, dy, outputs, dw, outputs, accumulate ? 1.0f : 0.0f};
    multiply(thread, gemm, block_of(gemm, thread));
  }
  const Range columns = part_of(outputs, 16, thread, team_->size());
  if (dbias != nullptr && columns.size() > 0) {
    rows_.column_sums(dbias + columns.begin, dy + columns.begin, n, columns.size(), outputs, accumulate);
  }
}

void CpuOps::linear_backward(Tensor dx, Tensor dw, Tensor dbias, Into into, Tensor dy, Tensor x, Tensor w) {
  const auto [n, inputs, outputs] = linear_shape(x, w);
  const float* gradient = expect_rows(dy, "dy", n, outputs);
  float* weight_gradient = dw.empty() ? nullptr : expect(dw, "dw", {inputs, outputs});
  float* bias_gradient = dbias.empty() ? nullptr : expect_size(dbias, "dbias", outputs);
  float* input_gradient = dx.empty() ? nullptr : expect_rows(dx, "dx", n, inputs);
  const Gemm gemm{Product::nt,   n,       inputs,         outputs, gradient, outputs,
                  w.as<float>(), outputs, input_gradient, inputs,  0};
  team_->run([&](int thread) {
    weight_gradient_part(thread, weight_gradient, bias_gradient, into, gradient, x.as<float>(), gemm.m, gemm.n, gemm.k);
    if (input_gradient != nullptr) multiply(thread, gemm, block_of(gemm, thread));
  });
}

void CpuOps::linear_backward_gelu(Tensor dpre, Tensor dw, Tensor dbias, Into into, Tensor dy, Tensor x, Tensor w,
                                  Tensor pre) {
  const auto [n, inputs, outputs] = linear_shape(x, w);
  const float* gradient = expect_rows(dy, "dy", n, outputs);
  const float* kept = expect_rows(pre, "pre", n, inputs);
  float* weight_gradient = dw.empty() ? nullptr : expect(dw, "dw", {inputs, outputs});
  float* bias_gradient = dbias.empty() ? nullptr : expect_size(dbias, "dbias", outputs);
  float* out = expect_rows(dpre, "dpre", n, inputs);
  const Gemm gemm{Product::nt, n, inputs, outputs, gradient, outputs, w.as<float>(), outputs, out, inputs, 0};
  team_->run([&](int thread) {
    weight_gradient_part(thread, weight_gradient, bias_gradient, into, gradient, x.as<float>(), gemm.m, gemm.n, gemm.k);
    for_panels(block_of(gemm, thread), [&](const Block& block) {
      const std::int64_t columns = block.columns.size();
      float* panel = scratch_.floats(thread, block.rows.size() * columns);
      multiply(thread, gemm, block, panel, columns);
      for (std::int64_t i = 0; i < block.rows.size(); ++i) {
        const std::int64_t at = (block.rows.begin + i) * gemm.n + block.columns.begin;
        rows_.gelu_backward(out + at, panel + i * columns, kept + at, columns);
      }
    });
  });
}

}  // namespace nll::cpu
