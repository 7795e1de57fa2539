// LayerNorm over rows of C.                                                          N rows, C width, epsilon 1e-5
//   y = (x - mean) rstd weight + bias;  dx = rstd (g - mean(g) - xhat mean(g xhat)), g = dy weight
//   dweight = sum_N dy xhat, dbias = sum_N dy: partial sums of fixed blocks of rows, then added in order.
// Bytes: forward 8 N C (12 N C with the residual), backward 12 N C and 4 more where dx is added to.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/cpu_ops.h"

namespace nll::cpu {
namespace {

// Rows of one partial sum: a function of N only, so that the sums do not depend on the number of threads.
std::int64_t partial_rows(std::int64_t n) { return std::max<std::int64_t>(16, (n + 255) / 256); }

}  // namespace

void CpuOps::layernorm(Tensor y, Tensor mean, Tensor rstd, Tensor x, Tensor weight, Tensor bias) {
  const std::int64_t n = x.rows(), width = x.last();
  const float* in = x.as<float>();
  float* out = expect_rows(y, "y", n, width);
  float *means = expect_size(mean, "mean", n), *rstds = expect_size(rstd, "rstd", n);
  const float *w = expect_size(weight, "weight", width), *b = expect_size(bias, "bias", width);
  team_->for_each_part(n, 1, [&](Range part, int) {
    for (std::int64_t i = part.begin; i < part.end; ++i) {
      rows_.layernorm(out + i * width, means + i, rstds + i, in + i * width, w, b, width);
    }
  });
}

void CpuOps::residual_layernorm(Tensor residual, Tensor y, Tensor mean, Tensor rstd, Tensor x, Tensor branch,
                                Tensor weight, Tensor bias, const Dropout& dropout) {
  const std::int64_t n = x.rows(), width = x.last();
  const float *in = x.as<float>(), *added = expect_rows(branch, "branch", n, width);
  float *sum = expect_rows(residual, "residual", n, width), *out = expect_rows(y, "y", n, width);
  float *means = expect_size(mean, "mean", n), *rstds = expect_size(rstd, "rstd", n);
  const float *w = expect_size(weight, "weight", width), *b = expect_size(bias, "bias", width);
  const Dropout now = at_this_step(dropout);
  team_->for_each_part(n, 1, [&](Range part, int thread) {
    float* factor = dropout.rate == 0 ? nullptr : scratch_.floats(thread, width);
    for (std::int64_t i = part.begin; i < part.end; ++i) {
      if (factor != nullptr) {
        rows_.dropout_factors(factor, width, static_cast<std::uint64_t>((now.first_row + i) * width), now.rate,
                              now.seed, now.stream);
      }
      rows_.residual_layernorm(sum + i * width, out + i * width, means + i, rstds + i, in + i * width,
                               added + i * width, factor, w, b, width);
    }
  });
}

void CpuOps::layernorm_backward(Tensor dx, Into dx_into, Tensor dbranch, const Dropout& branch_dropout, Tensor dweight,
                                Tensor dbias, Into into, Tensor dy, Tensor x, Tensor weight, Tensor mean, Tensor rstd) {
  const std::int64_t n = x.rows(), width = x.last();
  const float *in = x.as<float>(), *gradient = expect_rows(dy, "dy", n, width);
  float* out = expect_rows(dx, "dx", n, width);
  const bool with_branch = !dbranch.empty(), with_dropout = with_branch && branch_dropout.rate > 0;
  const Dropout now = at_this_step(branch_dropout);
  float* branch = with_branch ? expect_rows(dbranch, "dbranch", n, width) : nullptr;
  const float *means = expect_size(mean, "mean", n), *rstds = expect_size(rstd, "rstd", n);
  const float* w = expect_size(weight, "weight", width);
  float *weight_gradient = expect_size(dweight, "dweight", width), *bias_gradient = expect_size(dbias, "dbias", width);

  const std::int64_t rows_each = partial_rows(n), blocks = (n + rows_each - 1) / rows_each;
  float* partials = static_cast<float*>(scratch_.shared(blocks * 2 * width * 4));  // (blocks, 2, width)
  team_->for_each_part(blocks, 1, [&](Range part, int thread) {
    float* factor = with_dropout ? scratch_.floats(thread, width) : nullptr;
    for (std::int64_t block = part.begin; block < part.end; ++block) {
      float* partial = partials + block * 2 * width;
      std::memset(partial, 0, static_cast<std::size_t>(2 * width) * sizeof(float));
      for (std::int64_t i = block * rows_each; i < std::min(n, (block + 1) * rows_each); ++i) {
        float* row = out + i * width;
        rows_.layernorm_backward(row, dx_into == Into::add, partial, partial + width, gradient + i * width,
                                 in + i * width, w, means[i], rstds[i], width);
        if (with_branch && !with_dropout) std::copy_n(row, width, branch + i * width);
        if (!with_dropout) continue;
        rows_.dropout_factors(factor, width, static_cast<std::uint64_t>((now.first_row + i) * width), now.rate,
                              now.seed, now.stream);
        rows_.multiply(branch + i * width, row, factor, width, false);
      }
    }
  });
  team_->for_each_part(width, 16, [&](Range columns, int) {
    rows_.column_sums(weight_gradient + columns.begin, partials + columns.begin, blocks, columns.size(), 2 * width,
                      into == Into::add);
    rows_.column_sums(bias_gradient + columns.begin, partials + width + columns.begin, blocks, columns.size(),
                      2 * width, into == Into::add);
  });
}

}  // namespace nll::cpu
