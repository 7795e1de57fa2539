// Sums over rows in two passes.                                                     sums (C) (+)= sum_i x(i)   x (N,C)
// First pass: a block takes 256 rows of 32 packs of columns; thread (p, r) adds rows r, r + 8, ... of pack p in order,
// then thread (p, 0) adds the eight partial sums in order. Second pass: one thread a column adds the blocks in order.
// Bytes      N C e + 2 * 4 C ceil(N/256) + 4 C
// Sums       FP32; the order depends on N only: bitwise repeatable
// Launch     (ceil(C / (32 pack)), ceil(N/256)) blocks of 32 x 8 threads; then ceil(C/128) blocks of 128
// Roof       share not yet measured on a GPU
#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/number.cuh"

namespace nll::cuda {
namespace {

constexpr int rows_of_block = 256, packs_of_block = 32, lanes = 8;

template <class T, int n>
__global__ void sum_row_blocks(float* parts, const T* x, std::int64_t rows, std::int64_t columns) {
  __shared__ float shared[lanes][packs_of_block][n];
  const int p = static_cast<int>(threadIdx.x), lane = static_cast<int>(threadIdx.y);
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.x) * packs_of_block + p) * n;
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.y) * rows_of_block;
  const std::int64_t end = begin + rows_of_block < rows ? begin + rows_of_block : rows;
  float sum[n] = {};
  if (column < columns) {
    for (std::int64_t row = begin + lane; row < end; row += lanes) {
      const Pack<T, n> pack = load_pack<n>(x + row * columns + column);
      for (int i = 0; i < n; ++i) sum[i] += to_float(pack.at[i]);
    }
  }
  for (int i = 0; i < n; ++i) shared[lane][p][i] = sum[i];
  __syncthreads();
  if (lane != 0 || column >= columns) return;
  for (int i = 0; i < n; ++i) {
    float total = 0;
    for (int other = 0; other < lanes; ++other) total += shared[other][p][i];
    parts[static_cast<std::int64_t>(blockIdx.y) * columns + column + i] = total;
  }
}

__global__ void sum_parts(float* sums, const float* parts, std::int64_t count, std::int64_t columns, bool add) {
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (column >= columns) return;
  float total = 0;
  for (std::int64_t i = 0; i < count; ++i) total += parts[i * columns + column];
  sums[column] = add ? sums[column] + total : total;
}

std::int64_t row_blocks(std::int64_t rows) { return (rows + rows_of_block - 1) / rows_of_block; }

template <class T, int n>
void queue_row_blocks(const Stream& stream, float* parts, const void* x, std::int64_t rows, std::int64_t columns) {
  const std::int64_t across = (columns + packs_of_block * n - 1) / (packs_of_block * n), down = row_blocks(rows);
  CHECK(down <= 65535);  // 16 million rows
  launch(sum_row_blocks<T, n>, dim3(static_cast<unsigned>(across), static_cast<unsigned>(down)),
         dim3(packs_of_block, lanes), 0, stream.get(), parts, static_cast<const T*>(x), rows, columns);
}

}  // namespace

std::int64_t column_sums_scratch(std::int64_t rows, std::int64_t columns) {
  return checked_product(row_blocks(rows), columns);
}

void column_sums(const Stream& stream, float* sums, Into into, const void* x, DType type, std::int64_t rows,
                 std::int64_t columns, float* scratch) {
  with_number_type(type, [&]<class T>(TypeTag<T>) {
    constexpr int wide = per_16_bytes<T>;
    if (columns % wide == 0 && aligned_to(x, 16)) {
      queue_row_blocks<T, wide>(stream, scratch, x, rows, columns);
    } else {
      queue_row_blocks<T, 1>(stream, scratch, x, rows, columns);
    }
  });
  add_parts(stream, sums, into, scratch, row_blocks(rows), columns);
}

void add_parts(const Stream& stream, float* sums, Into into, const float* parts, std::int64_t count,
               std::int64_t columns) {
  constexpr int threads = 128;
  launch(sum_parts, static_cast<unsigned>((columns + threads - 1) / threads), threads, 0, stream.get(), sums, parts,
         count, columns, into == Into::add);
}

}  // namespace nll::cuda
