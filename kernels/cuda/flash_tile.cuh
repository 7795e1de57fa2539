// What the flash attention kernels are made of: tiles in shared memory, and matrix products of a warp between tiles and
// registers (mma.sync 16x8x16, FP32 accumulators).
//
// A tile holds rows of `columns` numbers of 2 bytes (64 or 128 of them). The 16-byte chunk c of row r lies at place
// c ^ (r % 8): the 8 rows of a chunk that one ldmatrix phase reads, and the 8 chunks of a row, each lie in all 32
// banks.
//
// Accumulators are float c[m][n][4], 16m rows by 8n columns: with g = lane / 4 and t = lane % 4, c[i][j][0] and [1] are
// row 16i + g, columns 8j + 2t and 8j + 2t + 1; c[i][j][2] and [3] are the same columns of row 16i + g + 8.
#pragma once
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/cuda/number.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/warp.cuh"

namespace nll::cuda {

template <class T, int columns>
struct Tile {
  static constexpr int chunks = columns / 8;
  static_assert(columns == 64 || columns == 128, "tile: a row of 128 or 256 bytes");
  T* data;

  __device__ T* chunk(int row, int c) const { return data + row * columns + (c ^ row % 8) * 8; }
  // From row r on, a multiple of 8.
  __device__ Tile below(int r) const { return {data + r * columns}; }
};

__device__ inline int lane_of_thread() { return static_cast<int>(threadIdx.x) % warp_size; }
__device__ inline int warp_of_thread() { return static_cast<int>(threadIdx.x) / warp_size; }

// The rows of one head in a tensor: row r is the D elements from data + r * stride on.
template <class T>
struct Rows {
  T* data;
  int stride, count;

  __device__ T* row(int r) const { return data + static_cast<std::int64_t>(r) * stride; }
};

// All threads of the block: begins the copy (cp.async, not committed) of `rows` rows from `first` on, which is below
// the count; rows beyond the count become zero.
template <int rows, int threads, class T, int columns>
__device__ inline void copy_rows(Tile<T, columns> tile, const Rows<const T>& from, int first) {
  constexpr int chunks = Tile<T, columns>::chunks;
  static_assert(threads % chunks == 0 && rows % (threads / chunks) == 0, "copy_rows: whole passes of the block");
  const int c = static_cast<int>(threadIdx.x) % chunks, own = static_cast<int>(threadIdx.x) / chunks;
  const T* at = from.row(first + own) + c * 8;
#pragma unroll
  for (int pass = 0; pass < rows; pass += threads / chunks) {
    const bool inside = first + pass + own < from.count;
    cp_async_16(tile.chunk(own, c) + pass * columns, inside ? at : from.data, inside);
    at += threads / chunks * from.stride;
  }
}

// Two numbers of type T in a register, the first in the lower half.
template <class T>
__device__ inline std::uint32_t two_of(float first, float second) {
  std::uint32_t bits = 0;
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    const __nv_bfloat162 two = __floats2bfloat162_rn(first, second);
    memcpy(&bits, &two, sizeof bits);
  } else {
    const __half2 two = __floats2half2_rn(first, second);
    memcpy(&bits, &two, sizeof bits);
  }
  return bits;
}

// Where this lane points ldmatrix_x4 for the 16x16 part of a tile that begins at row 0 and chunk c (even). Rows further
// down, in steps of 8, are a constant further. All parts are read in this one pattern, so that a kernel has few
// different addresses to keep: as stored, r[0] to r[3] are the top left, bottom left, top right and bottom right 8x8.
template <class T, int columns>
__device__ inline const T* lane_chunk(Tile<T, columns> tile, int c) {
  const int lane = lane_of_thread();
  return tile.chunk(lane % 16, c ^ lane / 16);
}

// left, right += a b for the two 8-column parts of a 16x16 b.
template <class T>
__device__ inline void multiply_part(float (&left)[4], float (&right)[4], const std::uint32_t (&a)[4],
                                     std::uint32_t left_top, std::uint32_t left_bottom, std::uint32_t right_top,
                                     std::uint32_t right_bottom) {
  const std::uint32_t b_left[2] = {left_top, left_bottom}, b_right[2] = {right_top, right_bottom};
  mma_m16n8k16<T>(left, a, b_left);
  mma_m16n8k16<T>(right, a, b_right);
}

// c (16m, 8n) += a b^T over the columns of both tiles: rows 0 to 16m of a, rows 0 to 8n of b. Unrolled no further,
// since the parts of several k that would be loaded ahead take registers that the kernels do not have.
template <int m, int n, class T, int columns>
__device__ inline void multiply_transposed(float (&c)[m][n][4], Tile<T, columns> a, Tile<T, columns> b) {
#pragma unroll 2
  for (int k = 0; k < columns / 16; ++k) {
    const T *const a_at = lane_chunk(a, 2 * k), *const b_at = lane_chunk(b, 2 * k);
    std::uint32_t a_part[m][4];
#pragma unroll
    for (int i = 0; i < m; ++i) ldmatrix_x4(a_part[i], a_at + 16 * i * columns);
#pragma unroll
    for (int j = 0; j < n; j += 2) {
      std::uint32_t r[4];
      ldmatrix_x4(r, b_at + 8 * j * columns);
#pragma unroll
      for (int i = 0; i < m; ++i) multiply_part<T>(c[i][j], c[i][j + 1], a_part[i], r[0], r[2], r[1], r[3]);
    }
  }
}

// c (16m, columns) += a b: a (16m, 16k) in registers, rows 0 to 16k of b.
template <int m, int k, class T, int columns>
__device__ inline void multiply_registers(float (&c)[m][columns / 8][4], const std::uint32_t (&a)[m][k][4],
                                          Tile<T, columns> b) {
#pragma unroll
  for (int j = 0; j < columns / 8; j += 2) {
    const T* const b_at = lane_chunk(b, j);
#pragma unroll
    for (int step = 0; step < k; ++step) {
      std::uint32_t r[4];
      ldmatrix_x4_transposed(r, b_at + 16 * step * columns);
#pragma unroll
      for (int i = 0; i < m; ++i) multiply_part<T>(c[i][j], c[i][j + 1], a[i][step], r[0], r[1], r[2], r[3]);
    }
  }
}

// Accumulators, rounded to T, as the left factor of the next product: their places in the lanes are the same.
template <class T, int m, int n>
__device__ inline void round_to_factor(std::uint32_t (&a)[m][n / 2][4], const float (&c)[m][n][4]) {
#pragma unroll
  for (int i = 0; i < m; ++i) {
#pragma unroll
    for (int j = 0; j < n; ++j) {
      a[i][j / 2][j % 2 * 2] = two_of<T>(c[i][j][0], c[i][j][1]);
      a[i][j / 2][j % 2 * 2 + 1] = two_of<T>(c[i][j][2], c[i][j][3]);
    }
  }
}

// Scores of keys beyond their query become -infinity. Rows are queries and columns are keys, or the other way round.
template <bool rows_are_queries, int m, int n>
__device__ inline void mask_above_diagonal(float (&s)[m][n][4], int first_row, int first_column) {
  const int lane = lane_of_thread();
#pragma unroll
  for (int i = 0; i < m; ++i) {
#pragma unroll
    for (int j = 0; j < n; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int row = first_row + 16 * i + lane / 4 + e / 2 * 8, column = first_column + 8 * j + lane % 4 * 2 + e % 2;
        if (rows_are_queries ? column > row : row > column) s[i][j][e] = -INFINITY;
      }
    }
  }
}

// One warp: c (16m, columns), rounded to T, to rows `first` and on; those beyond the count are left out. The way is
// over rows `tile_row` and on of `tile`, which no other warp may be reading.
template <int m, class T, int columns>
__device__ inline void store_rows(const Rows<T>& to, int first, const float (&c)[m][columns / 8][4],
                                  Tile<T, columns> tile) {
  constexpr int chunks = Tile<T, columns>::chunks;
  const int lane = lane_of_thread();
  __syncwarp();
#pragma unroll
  for (int i = 0; i < m; ++i) {
#pragma unroll
    for (int j = 0; j < chunks; ++j) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        T* at = tile.chunk(16 * i + 8 * half + lane / 4, j) + lane % 4 * 2;
        *reinterpret_cast<std::uint32_t*>(at) = two_of<T>(c[i][j][2 * half], c[i][j][2 * half + 1]);
      }
    }
  }
  __syncwarp();
#pragma unroll
  for (int pass = 0; pass < 16 * m; pass += warp_size / chunks) {
    const int r = pass + lane / chunks, chunk = lane % chunks;
    if (first + r < to.count) store_pack(to.row(first + r) + chunk * 8, load_pack<8>(tile.chunk(r, chunk)));
  }
}

}  // namespace nll::cuda
