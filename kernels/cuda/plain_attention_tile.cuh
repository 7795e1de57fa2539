// Tiles of FP32 numbers in shared memory and products of them, by 256 threads that stand in a square of 16 by 16: the
// thread at (down, across) computes rows down + 16 i and columns across + 16 j of a product.
// A row of a tile has an odd pitch, so that 16 neighbours in a column lie in 16 banks.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/number.cuh"
#include "kernels/cuda/warp.cuh"

namespace nll::cuda {

inline constexpr int square = 16;
inline constexpr int square_threads = square * square;
inline constexpr float per_ln2 = 1.44269504f, ln2 = 0.693147181f;

// Columns of a tile that holds rows of a head: whole squares, the last filled with zeros.
__host__ __device__ inline int padded_head_size(int head_size) { return (head_size + square - 1) / square * square; }

__device__ inline int thread_down() { return static_cast<int>(threadIdx.x) / square; }
__device__ inline int thread_across() { return static_cast<int>(threadIdx.x) % square; }

// (size, head_size) from global memory, `row` elements from one row to the next, times `factor`; rows from `count` on
// are zero. `to`: (size, padded) with pitch padded + 1.
template <int size, class T>
__device__ inline void load_tile(float* to, const T* from, std::int64_t row, int count, int head_size, float factor) {
  const int padded = padded_head_size(head_size);
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
#pragma unroll 4
  for (int i = warp; i < size; i += square_threads / warp_size) {
    for (int d = lane; d < padded; d += warp_size) {
      const bool there = i < count && d < head_size;
      to[i * (padded + 1) + d] = there ? to_float(from[i * row + d]) * factor : 0.0f;
    }
  }
}

// product[i][j] = row i of a . row j of b, over `padded` columns.
template <int side>
__device__ inline void multiply_rows(float (&product)[side][side], const float* a, const float* b, int padded) {
  const float* const a_row = a + thread_down() * (padded + 1);
  const float* const b_row = b + thread_across() * (padded + 1);
#pragma unroll
  for (int i = 0; i < side; ++i) {
#pragma unroll
    for (int j = 0; j < side; ++j) product[i][j] = 0;
  }
#pragma unroll 4
  for (int d = 0; d < padded; ++d) {
    float left[side], right[side];
#pragma unroll
    for (int i = 0; i < side; ++i) left[i] = a_row[i * square * (padded + 1) + d];
#pragma unroll
    for (int j = 0; j < side; ++j) right[j] = b_row[j * square * (padded + 1) + d];
#pragma unroll
    for (int i = 0; i < side; ++i) {
#pragma unroll
      for (int j = 0; j < side; ++j) product[i][j] = fmaf(left[i], right[j], product[i][j]);
    }
  }
}

// sum[i][c] += sum over k < depth of a[i][k] b[k][c], b (depth, padded) with pitch padded + 1. a is (size, size) with
// pitch size + 1, or its transpose.
template <bool a_transposed, int side, int columns>
__device__ inline void multiply_add(float (&sum)[side][columns], const float* a, const float* b, int depth,
                                    int padded) {
  constexpr int pitch = side * square + 1;
  constexpr int a_row = a_transposed ? 1 : pitch, a_step = a_transposed ? pitch : 1;
  const float* const left = a + thread_down() * a_row;
  const float* const right = b + thread_across();
#pragma unroll 2
  for (int k = 0; k < depth; ++k) {
    float factor[side];
#pragma unroll
    for (int i = 0; i < side; ++i) factor[i] = left[i * square * a_row + k * a_step];
#pragma unroll
    for (int c = 0; c < columns; ++c) {
      if (c * square >= padded) continue;
      const float value = right[k * (padded + 1) + c * square];
#pragma unroll
      for (int i = 0; i < side; ++i) sum[i][c] = fmaf(factor[i], value, sum[i][c]);
    }
  }
}

// Writes a product of the threads' own elements to a (size, size) tile with pitch size + 1.
template <int side>
__device__ inline void store_square(float* to, const float (&from)[side][side]) {
  constexpr int pitch = side * square + 1;
#pragma unroll
  for (int i = 0; i < side; ++i) {
#pragma unroll
    for (int j = 0; j < side; ++j) to[(thread_down() + square * i) * pitch + thread_across() + square * j] = from[i][j];
  }
}

// Rows of a head to global memory, times `factor` of each row, rounded to T; rows from `count` on are not there.
template <class T, int side, int columns>
__device__ inline void store_rows(T* to, std::int64_t row, int count, int head_size, const float (&from)[side][columns],
                                  const float (&factor)[side]) {
#pragma unroll
  for (int i = 0; i < side; ++i) {
    const int at = thread_down() + square * i;
    if (at >= count) continue;
#pragma unroll
    for (int c = 0; c < columns; ++c) {
      const int d = thread_across() + square * c;
      if (d < head_size) to[at * row + d] = from_float<T>(from[i][c] * factor[i]);
    }
  }
}

// Over the 16 threads with the same `down`; each gets the same bits.
template <class Operation>
__device__ inline float reduce_across(float x, Operation operation) {
  for (int distance = square / 2; distance > 0; distance /= 2) {
    x = operation(x, __shfl_xor_sync(all_lanes, x, distance));
  }
  return x;
}

}  // namespace nll::cuda
