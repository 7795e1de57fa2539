// LayerNorm over rows of C, forward.                 N rows, C width, epsilon 1e-5; x, residual in R, branch, y in T
//   residual = x + dropout(branch) as R holds it;  mean, rstd of it;  y = (residual - mean) rstd weight + bias
// Bytes    N C (sizeof R + sizeof T) + 8 N; with a branch N C (2 sizeof R + 2 sizeof T) + 8 N; weight and bias stay in
//          the caches
// Sums     FP32, two passes over a row that is kept in registers: a lane adds its own elements, lanes and warps are
//          added in a fixed order. The bits of a row depend on its C elements only.
// Launch   a warp a row up to C = 1024, 4 rows a block; a block a row of 16 elements a thread up to C = 16384; beyond
//          that, and where C or an address keeps 16-byte accesses away, a block a row that is read again each pass
// H100     share of the roof: not yet measured on a GPU
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/dropout.cuh"
#include "kernels/cuda/grid.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/row.cuh"

namespace nll::cuda {
namespace {

constexpr float norm_epsilon = 1e-5f;
constexpr int rows_per_block = 4;
constexpr int widest_row_of_a_warp = 1024, widest_row_of_a_block = 16384;
constexpr int elements_of_a_wide_row = 16;  // a thread

template <class R, class T>
struct LayerNormCall {
  T* y;
  float *mean, *rstd;
  R* residual;  // null without a branch
  const R* x;
  const T* branch;  // null: none
  const float *weight, *bias;
  std::int64_t rows, width;
  DropoutMask dropout;
};

// `elements` of a row are in each thread's registers.
template <class R, class T, int elements, bool block_a_row>
__global__ void __launch_bounds__(block_a_row ? 1024 : rows_per_block* warp_size)
    layernorm_rows(const LayerNormCall<R, T> call) {
  constexpr int n = neighbours<R, T>, packs = elements / n, stride = warp_size * n;
  __shared__ float of_warps[2][warp_size];
  const int warps = block_a_row ? static_cast<int>(blockDim.x) / warp_size : 1;
  const int warp = static_cast<int>(threadIdx.x) / warp_size;
  const std::int64_t row = block_a_row ? static_cast<std::int64_t>(blockIdx.x)
                                       : static_cast<std::int64_t>(blockIdx.x) * rows_per_block + warp;
  if (row >= call.rows) return;  // a whole warp leaves; with a block a row, nobody does
  const int width = static_cast<int>(call.width);
  // Pack p of this thread begins at column + p * stride: a warp has neighbouring columns, its lanes neighbouring packs.
  const int column = (block_a_row ? warp * warp_size * elements : 0) + static_cast<int>(threadIdx.x) % warp_size * n;
  const std::int64_t begin = row * width + column;

  float x[packs][n];
#pragma unroll
  for (int p = 0; p < packs; ++p) {
#pragma unroll
    for (int k = 0; k < n; ++k) x[p][k] = 0.0f;
    if (column + p * stride < width) load_floats(x[p], call.x + begin + p * stride);
  }
  if (call.branch != nullptr) {
    const DropoutMask dropout = at_this_step(call.dropout);
    Stored<T, n> incoming[packs];
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      if (column + p * stride < width) incoming[p] = load_stored<n>(call.branch + begin + p * stride);
    }
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      if (column + p * stride >= width) continue;
      float branch[n];
      unpack(branch, incoming[p]);
      apply_dropout(branch, dropout, row, column + p * stride, width);
#pragma unroll
      for (int k = 0; k < n; ++k) x[p][k] = rounded_to<R>(x[p][k] + branch[k]);
      store_floats(call.residual + begin + p * stride, x[p]);
    }
  }

  float sum = 0;
#pragma unroll
  for (int p = 0; p < packs; ++p) {
#pragma unroll
    for (int k = 0; k < n; ++k) sum += x[p][k];
  }
  const float mean = row_sum(sum, warps, of_warps[0]) / static_cast<float>(width);
  float squares = 0;
#pragma unroll
  for (int p = 0; p < packs; ++p) {
    if (column + p * stride >= width) continue;
#pragma unroll
    for (int k = 0; k < n; ++k) squares += (x[p][k] - mean) * (x[p][k] - mean);
  }
  const float variance = row_sum(squares, warps, of_warps[1]) / static_cast<float>(width);
  const float rstd = 1.0f / sqrtf(variance + norm_epsilon);
  if (column == 0) {
    call.mean[row] = mean;
    call.rstd[row] = rstd;
  }
#pragma unroll
  for (int p = 0; p < packs; ++p) {
    if (column + p * stride >= width) continue;
    float weight[n], bias[n];
    load_floats(weight, call.weight + column + p * stride);
    load_floats(bias, call.bias + column + p * stride);
#pragma unroll
    for (int k = 0; k < n; ++k) x[p][k] = (x[p][k] - mean) * rstd * weight[k] + bias[k];
  }
#pragma unroll
  for (int p = 0; p < packs; ++p) {
    if (column + p * stride < width) store_floats(call.y + begin + p * stride, x[p]);
  }
}

// Any width and any alignment: a thread meets the same columns in each pass.
template <class R, class T>
__global__ void layernorm_any_row(const LayerNormCall<R, T> call) {
  __shared__ float of_warps[2][warp_size];
  const int warps = static_cast<int>(blockDim.x) / warp_size;
  const std::int64_t row = blockIdx.x, begin = row * call.width;
  const R* x = call.x + begin;
  if (call.branch != nullptr) {
    const DropoutMask dropout = at_this_step(call.dropout);
    for (std::int64_t c = threadIdx.x; c < call.width; c += blockDim.x) {
      float branch[1] = {to_float(call.branch[begin + c])};
      apply_dropout(branch, dropout, row, c, call.width);
      call.residual[begin + c] = from_float<R>(to_float(x[c]) + branch[0]);
    }
    x = call.residual + begin;
  }
  const float width = static_cast<float>(call.width);
  float sum = 0;
  for (std::int64_t c = threadIdx.x; c < call.width; c += blockDim.x) sum += to_float(x[c]);
  const float mean = row_sum(sum, warps, of_warps[0]) / width;
  float squares = 0;
  for (std::int64_t c = threadIdx.x; c < call.width; c += blockDim.x) {
    squares += (to_float(x[c]) - mean) * (to_float(x[c]) - mean);
  }
  const float variance = row_sum(squares, warps, of_warps[1]) / width;
  const float rstd = 1.0f / sqrtf(variance + norm_epsilon);
  if (threadIdx.x == 0) {
    call.mean[row] = mean;
    call.rstd[row] = rstd;
  }
  for (std::int64_t c = threadIdx.x; c < call.width; c += blockDim.x) {
    call.y[begin + c] = from_float<T>((to_float(x[c]) - mean) * rstd * call.weight[c] + call.bias[c]);
  }
}

template <class R, class T>
void run(const LayerNormCall<R, T>& call, cudaStream_t stream) {
  const std::int64_t width = call.width;
  constexpr int n = neighbours<R, T>;
  const bool vectors = width % n == 0 && width <= widest_row_of_a_block && aligned_to(call.x, n * sizeof(R)) &&
                       aligned_to(call.residual, n * sizeof(R)) && aligned_to(call.branch, n * sizeof(T)) &&
                       aligned_to(call.y, n * sizeof(T)) && aligned_to(call.weight, 16) && aligned_to(call.bias, 16);
  if (!vectors) {
    launch(layernorm_any_row<R, T>, blocks_of(call.rows), threads_for(width, 1024), 0, stream, call);
  } else if (width > widest_row_of_a_warp) {
    launch(layernorm_rows<R, T, elements_of_a_wide_row, true>, blocks_of(call.rows),
           threads_for(pieces(width, elements_of_a_wide_row), 1024), 0, stream, call);
  } else {
    const auto kernel = width <= 512   ? layernorm_rows<R, T, 16, false>
                        : width <= 768 ? layernorm_rows<R, T, 24, false>
                                       : layernorm_rows<R, T, 32, false>;
    launch(kernel, blocks_of(pieces(call.rows, rows_per_block)), rows_per_block * warp_size, 0, stream, call);
  }
}

}  // namespace

void CudaOps::layernorm(Tensor y, Tensor mean, Tensor rstd, Tensor x, Tensor weight, Tensor bias) {
  residual_layernorm({}, y, mean, rstd, x, {}, weight, bias, {});
}

void CudaOps::residual_layernorm(Tensor residual, Tensor y, Tensor mean, Tensor rstd, Tensor x, Tensor branch,
                                 Tensor weight, Tensor bias, const Dropout& dropout) {
  const std::int64_t rows = x.rows(), width = x.last();
  const bool with_branch = !branch.empty();
  with_residual_types(x.type(), y.type(), [&](auto residual_type, auto compute_type) {
    using R = typename decltype(residual_type)::type;
    using T = typename decltype(compute_type)::type;
    LayerNormCall<R, T> call{};
    call.rows = rows;
    call.width = width;
    call.y = static_cast<T*>(expect_rows(y, "y", y.type(), rows, width));
    call.mean = static_cast<float*>(expect_size(mean, "mean", DType::f32, rows));
    call.rstd = static_cast<float*>(expect_size(rstd, "rstd", DType::f32, rows));
    call.x = static_cast<const R*>(expect_rows(x, "x", x.type(), rows, width));
    call.weight = static_cast<const float*>(expect_size(weight, "weight", DType::f32, width));
    call.bias = static_cast<const float*>(expect_size(bias, "bias", DType::f32, width));
    if (with_branch) {
      call.residual = static_cast<R*>(expect_rows(residual, "residual", x.type(), rows, width));
      call.branch = static_cast<const T*>(expect_rows(branch, "branch", y.type(), rows, width));
      call.dropout = dropout_mask(dropout);
    }
    run(call, stream_->get());
  });
}

}  // namespace nll::cuda
