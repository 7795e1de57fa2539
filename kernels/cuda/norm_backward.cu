// LayerNorm over rows of C, backward.                                  N rows, C width; x, dx in R, dy, dbranch in T
//   dx (+)= rstd (g - mean(g) - xhat mean(g xhat)),  g = dy weight,  xhat = (x - mean) rstd;  dbranch = dropout'(dx)
//   dweight (+)= sum_N dy xhat,  dbias (+)= sum_N dy
// Bytes    N C (2 sizeof R + sizeof T) + 8 N; sizeof R N C more where dx is added to, sizeof T N C more with a branch;
//          16 C for each block of partial sums, which stay in the L2 cache
// Sums     FP32. A row: as in the forward. Columns: a block of rows keeps its sums in registers, its warps' are added
//          in order, then the blocks' in 16 groups of neighbours, then the groups. The number of blocks is a function
//          of N and C only.
// Launch   a block takes neighbouring rows, a warp for each 256 elements of one up to C = 4096, for each 512 up to
//          C = 8192; the next row is on its way while one is computed. Beyond, and where C or an address keeps 16-byte
//          accesses away: one kernel by rows and one by columns, which reads dy and x again
// H100     share of the roof: not yet measured on a GPU
#include <algorithm>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/dropout.cuh"
#include "kernels/cuda/grid.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/row.cuh"

namespace nll::cuda {
namespace {

// How a row is cut: elements of it in a thread's registers, and beside each other as many sums of columns.
constexpr int most_warps_a_row = 16;
constexpr std::int64_t few_elements = 8, many_elements = 16;
constexpr std::int64_t widest_row_in_registers = many_elements * warp_size * most_warps_a_row;
std::int64_t elements_a_thread(std::int64_t width) {
  return width <= few_elements * warp_size * most_warps_a_row ? few_elements : many_elements;
}
std::int64_t warps_a_row(std::int64_t width) { return pieces(width, elements_a_thread(width) * warp_size); }
// Rows at once in a block: six warps' worth, of which an H100 has room for four.
std::int64_t groups_of_a_block(std::int64_t width) { return std::max<std::int64_t>(1, 6 / warps_a_row(width)); }

// For how many warps there have to be registers: four such blocks, or one of the longest row.
constexpr int warps_with_room(std::int64_t elements) { return elements == few_elements ? 4 * 6 : most_warps_a_row; }

// Blocks of rows: as many as an H100 (132 multiprocessors) runs at once, by the registers that they take. On any other
// GPU too, since the order of sums hangs on it.
constexpr std::int64_t fewest_rows = 16;
std::int64_t rows_of_a_block(std::int64_t rows, std::int64_t width) {
  const std::int64_t warps = warps_a_row(width), most_blocks = 132 * (warps <= 6 ? 4 : warps <= 8 ? 3 : 2);
  return std::max(fewest_rows, pieces(rows, most_blocks));
}

constexpr int column_groups = 16;

template <class R, class T>
struct LayerNormBackwardCall {
  R* dx;
  bool add;
  T* dbranch;  // null: not wanted
  DropoutMask dropout;
  float* partials;  // (blocks, 2, C): of dweight, of dbias
  const T* dy;
  const R* x;
  const float *weight, *mean, *rstd;
  std::int64_t rows, rows_each, width;
};

// A row on its way from memory. One that is not there is all zeros, and adds nothing to any sum.
template <class R, class T, int packs>
struct IncomingRow {
  static constexpr int n = neighbours<R, T>;
  Stored<T, n> dy[packs];
  Stored<R, n> x[packs];
  float mean, rstd;

  // `column`: of the first pack; the others are a warp's packs apart.
  __device__ void load(const LayerNormBackwardCall<R, T>& call, std::int64_t row, std::int64_t end, int column) {
    const bool there = row < end;
    mean = there ? call.mean[row] : 0.0f;
    rstd = there ? call.rstd[row] : 0.0f;
    const T* const dy_row = call.dy + row * call.width + column;
    const R* const x_row = call.x + row * call.width + column;
    const int width = static_cast<int>(call.width);
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      dy[p] = {};
      x[p] = {};
      if (there && column + p * warp_size * n < width) {
        dy[p] = load_stored<n>(dy_row + p * warp_size * n);
        x[p] = load_stored<n>(x_row + p * warp_size * n);
      }
    }
  }
};

// `warps` warps a row, `elements` of it in each thread's registers, and as many sums of columns.
template <class R, class T, std::int64_t elements>
__global__ void __launch_bounds__(warps_with_room(elements) * warp_size)
    layernorm_backward_rows(const LayerNormBackwardCall<R, T> call, const int warps) {
  constexpr int n = neighbours<R, T>, packs = static_cast<int>(elements) / n, stride = warp_size * n;
  __shared__ float of_warps[2][2 * most_warps_a_row];
  const int width = static_cast<int>(call.width), warp = static_cast<int>(threadIdx.x) / warp_size;
  const int group = warp / warps, groups = static_cast<int>(blockDim.x) / warp_size / warps;
  // Pack p of this thread begins at column + p * stride: a warp has neighbouring columns, its lanes neighbouring packs.
  const int column =
      warp % warps * warp_size * static_cast<int>(elements) + static_cast<int>(threadIdx.x) % warp_size * n;
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * call.rows_each;
  const std::int64_t end = begin + call.rows_each < call.rows ? begin + call.rows_each : call.rows;

  float dweight[packs][n], dbias[packs][n];
#pragma unroll
  for (int p = 0; p < packs; ++p) {
#pragma unroll
    for (int k = 0; k < n; ++k) dweight[p][k] = dbias[p][k] = 0.0f;
  }

  IncomingRow<R, T, packs> incoming;
  incoming.load(call, begin + group, end, column);
  int parity = 0;  // two places for the sums of warps, so that one barrier a row is enough
  for (std::int64_t first = begin; first < end; first += groups, parity ^= 1) {
    const std::int64_t row = first + group;
    const float rstd = incoming.rstd;
    float g[packs][n], xhat[packs][n];
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      unpack(g[p], incoming.dy[p]);
      unpack(xhat[p], incoming.x[p]);
#pragma unroll
      for (int k = 0; k < n; ++k) xhat[p][k] = (xhat[p][k] - incoming.mean) * rstd;
    }
    incoming.load(call, row + groups, end, column);
    R* const dx_row = call.dx + row * width + column;
    Stored<R, n> before[packs];
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      if (call.add && row < end && column + p * stride < width) before[p] = load_stored<n>(dx_row + p * stride);
    }

    float sums[2] = {0.0f, 0.0f};  // of g, of g xhat
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      if (column + p * stride >= width) continue;
      float weight[n];
      load_floats(weight, call.weight + column + p * stride);
#pragma unroll
      for (int k = 0; k < n; ++k) {
        dweight[p][k] += g[p][k] * xhat[p][k];
        dbias[p][k] += g[p][k];
        g[p][k] *= weight[k];
        sums[0] += g[p][k];
        sums[1] += g[p][k] * xhat[p][k];
      }
    }
    row_sums(sums, warps, of_warps[parity]);
    const float mean_g = sums[0] / static_cast<float>(width), mean_gx = sums[1] / static_cast<float>(width);

    if (row >= end) continue;
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      if (column + p * stride >= width) continue;
      float dx[n];
#pragma unroll
      for (int k = 0; k < n; ++k) {
        dx[k] = rstd * (g[p][k] - mean_g - xhat[p][k] * mean_gx);
        if (call.add) dx[k] += before[p][k];
      }
      store_floats(dx_row + p * stride, dx);
      if (call.dbranch == nullptr) continue;
      apply_dropout(dx, at_this_step(call.dropout), row, column + p * stride, width);
      store_floats(call.dbranch + row * width + column + p * stride, dx);
    }
  }

  // The groups' sums of columns one after the other, the last one's to memory.
  float* const of_groups = reinterpret_cast<float*>(dynamic_shared());  // (2, C), where there are several groups
  float* const of_block = call.partials + static_cast<std::int64_t>(blockIdx.x) * 2 * width;
  for (int turn = 0; turn < groups; ++turn) {
    if (turn == group) {
#pragma unroll
      for (int p = 0; p < packs; ++p) {
        if (column + p * stride >= width) continue;
        if (turn > 0) {
          float earlier_dweight[n], earlier_dbias[n];
          load_floats(earlier_dweight, of_groups + column + p * stride);
          load_floats(earlier_dbias, of_groups + width + column + p * stride);
#pragma unroll
          for (int k = 0; k < n; ++k) {
            dweight[p][k] += earlier_dweight[k];
            dbias[p][k] += earlier_dbias[k];
          }
        }
        if (turn + 1 < groups) {
          store_shared(of_groups + column + p * stride, dweight[p]);
          store_shared(of_groups + width + column + p * stride, dbias[p]);
        } else {
          store_floats(of_block + column + p * stride, dweight[p]);
          store_floats(of_block + width + column + p * stride, dbias[p]);
        }
      }
    }
    if (turn + 1 < groups) __syncthreads();
  }
}

// Any width and any alignment: a block a row.
template <class R, class T>
__global__ void layernorm_backward_any_row(const LayerNormBackwardCall<R, T> call) {
  __shared__ float of_warps[2 * warp_size];
  const std::int64_t row = blockIdx.x, begin = row * call.width;
  const float mean = call.mean[row], rstd = call.rstd[row], width = static_cast<float>(call.width);
  const DropoutMask dropout = at_this_step(call.dropout);
  float sums[2] = {0.0f, 0.0f};
  for (std::int64_t c = threadIdx.x; c < call.width; c += blockDim.x) {
    const float g = to_float(call.dy[begin + c]) * call.weight[c];
    sums[0] += g;
    sums[1] += g * ((to_float(call.x[begin + c]) - mean) * rstd);
  }
  row_sums(sums, static_cast<int>(blockDim.x) / warp_size, of_warps);
  const float mean_g = sums[0] / width, mean_gx = sums[1] / width;
  for (std::int64_t c = threadIdx.x; c < call.width; c += blockDim.x) {
    const float g = to_float(call.dy[begin + c]) * call.weight[c];
    float dx[1] = {rstd * (g - mean_g - (to_float(call.x[begin + c]) - mean) * rstd * mean_gx)};
    if (call.add) dx[0] += to_float(call.dx[begin + c]);
    store_floats(call.dx + begin + c, dx);
    if (call.dbranch == nullptr) continue;
    apply_dropout(dx, dropout, row, c, call.width);
    store_floats(call.dbranch + begin + c, dx);
  }
}

// A thread a column, over the rows of block blockIdx.x.
template <class R, class T>
__global__ void layernorm_backward_columns(const LayerNormBackwardCall<R, T> call) {
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.y) * blockDim.x + threadIdx.x;
  if (column >= call.width) return;
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * call.rows_each;
  const std::int64_t end = begin + call.rows_each < call.rows ? begin + call.rows_each : call.rows;
  float dweight = 0, dbias = 0;
#pragma unroll 4
  for (std::int64_t row = begin; row < end; ++row) {
    const float dy = to_float(call.dy[row * call.width + column]);
    dweight += dy * ((to_float(call.x[row * call.width + column]) - call.mean[row]) * call.rstd[row]);
    dbias += dy;
  }
  float* const of_block = call.partials + static_cast<std::int64_t>(blockIdx.x) * 2 * call.width;
  of_block[column] = dweight;
  of_block[call.width + column] = dbias;
}

// dweight, dbias (+)= the blocks' sums, 32 of the 2 C columns a block of threads.
__global__ void layernorm_column_totals(float* dweight, float* dbias, bool add, const float* partials,
                                        std::int64_t blocks, std::int64_t width) {
  __shared__ float of_groups[column_groups][warp_size];
  const int lane = static_cast<int>(threadIdx.x) % warp_size, group = static_cast<int>(threadIdx.x) / warp_size;
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * warp_size + lane;
  float sum = 0;
  if (column < 2 * width) {
    const std::int64_t end = blocks * (group + 1) / column_groups;
#pragma unroll 8
    for (std::int64_t block = blocks * group / column_groups; block < end; ++block) {
      sum += partials[block * 2 * width + column];
    }
  }
  of_groups[group][lane] = sum;
  __syncthreads();
  if (group != 0 || column >= 2 * width) return;
  for (int other = 1; other < column_groups; ++other) sum += of_groups[other][lane];
  float* const to = column < width ? dweight + column : dbias + (column - width);
  *to = add ? *to + sum : sum;
}

// Queues what fills dx, dbranch and the partial sums.
template <class R, class T>
void run(const LayerNormBackwardCall<R, T>& call, std::int64_t blocks, cudaStream_t stream) {
  constexpr int n = neighbours<R, T>;
  const std::int64_t width = call.width;
  const bool vectors = width % n == 0 && width <= widest_row_in_registers && aligned_to(call.dx, n * sizeof(R)) &&
                       aligned_to(call.x, n * sizeof(R)) && aligned_to(call.dy, n * sizeof(T)) &&
                       aligned_to(call.dbranch, n * sizeof(T)) && aligned_to(call.weight, 16);
  if (!vectors) {
    constexpr int columns = 128;
    const auto column_blocks = static_cast<unsigned>(pieces(width, columns));
    launch(layernorm_backward_columns<R, T>, dim3(blocks_of(blocks).x, column_blocks), columns, 0, stream, call);
    launch(layernorm_backward_any_row<R, T>, blocks_of(call.rows), threads_for(width, 1024), 0, stream, call);
    return;
  }
  const std::int64_t warps = warps_a_row(width), groups = groups_of_a_block(width);
  const std::int64_t shared_bytes = groups > 1 ? 2 * width * static_cast<std::int64_t>(sizeof(float)) : 0;
  launch(elements_a_thread(width) == few_elements ? layernorm_backward_rows<R, T, few_elements>
                                                  : layernorm_backward_rows<R, T, many_elements>,
         blocks_of(blocks), threads_for(groups * warps * warp_size, 1024), static_cast<std::size_t>(shared_bytes),
         stream, call, static_cast<int>(warps));
}

}  // namespace

void CudaOps::layernorm_backward(Tensor dx, Into dx_into, Tensor dbranch, const Dropout& branch_dropout, Tensor dweight,
                                 Tensor dbias, Into into, Tensor dy, Tensor x, Tensor weight, Tensor mean,
                                 Tensor rstd) {
  const std::int64_t rows = x.rows(), width = x.last();
  auto* const weight_gradient = static_cast<float*>(expect_size(dweight, "dweight", DType::f32, width));
  auto* const bias_gradient = static_cast<float*>(expect_size(dbias, "dbias", DType::f32, width));
  const std::int64_t rows_each = rows_of_a_block(rows, width), blocks = pieces(rows, rows_each);
  auto* const partials = scratch_.get<float>(blocks * 2 * width);
  with_residual_types(x.type(), dy.type(), [&](auto residual_type, auto compute_type) {
    using R = typename decltype(residual_type)::type;
    using T = typename decltype(compute_type)::type;
    LayerNormBackwardCall<R, T> call{};
    call.dx = static_cast<R*>(expect_rows(dx, "dx", x.type(), rows, width));
    call.add = dx_into == Into::add;
    if (!dbranch.empty()) {
      call.dbranch = static_cast<T*>(expect_rows(dbranch, "dbranch", dy.type(), rows, width));
      call.dropout = dropout_mask(branch_dropout);
    }
    call.partials = partials;
    call.dy = static_cast<const T*>(expect_rows(dy, "dy", dy.type(), rows, width));
    call.x = static_cast<const R*>(expect_rows(x, "x", x.type(), rows, width));
    call.weight = static_cast<const float*>(expect_size(weight, "weight", DType::f32, width));
    call.mean = static_cast<const float*>(expect_size(mean, "mean", DType::f32, rows));
    call.rstd = static_cast<const float*>(expect_size(rstd, "rstd", DType::f32, rows));
    call.rows = rows;
    call.rows_each = rows_each;
    call.width = width;
    run(call, blocks, stream_->get());
  });
  launch(layernorm_column_totals, blocks_of(pieces(2 * width, warp_size)), column_groups * warp_size, 0, stream_->get(),
         weight_gradient, bias_gradient, into == Into::add, partials, blocks, width);
}

}  // namespace nll::cuda
