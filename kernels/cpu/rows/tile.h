// Small matrix products for attention, on packed tiles that fit L1 and L2:
//   c (m,n) = or += a (m,k) b (k,n)
// b and c are row-major with n a multiple of `width`; element (i,l) of a is a[i * a_row + l * a_column], so that a may
// be read transposed. m is a multiple of 4: the callers' tiles are padded with zeros.
#pragma once
#include "kernels/cpu/rows/vector.h"

namespace nll::cpu {
namespace {

constexpr int tile_rows = 4;
// Accumulators + one row of b + one element of a have to fit the registers: 32 with AVX-512, else 16.
constexpr int tile_vectors = width == 16 ? 4 : 2;

template <int vectors>
NLL_INLINE void multiply_strip(float* c, std::int64_t c_stride, const float* a, std::int64_t a_row,
                               std::int64_t a_column, const float* b, std::int64_t b_stride, std::int64_t k,
                               bool accumulate) {
  Floats sum[tile_rows][vectors];
  for (int i = 0; i < tile_rows; ++i) {
    for (int j = 0; j < vectors; ++j) sum[i][j] = accumulate ? load(c + i * c_stride + j * width) : Floats{};
  }
  for (std::int64_t l = 0; l < k; ++l) {
    Floats row[vectors];
    for (int j = 0; j < vectors; ++j) row[j] = load(b + l * b_stride + j * width);
    for (int i = 0; i < tile_rows; ++i) {
      const Floats element = broadcast(a[i * a_row + l * a_column]);
      for (int j = 0; j < vectors; ++j) sum[i][j] += element * row[j];
    }
  }
  for (int i = 0; i < tile_rows; ++i) {
    for (int j = 0; j < vectors; ++j) store(c + i * c_stride + j * width, sum[i][j]);
  }
}

struct Tile {
  float* c;
  std::int64_t c_stride;
  const float* a;
  std::int64_t a_row, a_column;
  const float* b;
  std::int64_t b_stride;
};

// The strip of 4 rows that begins at row i: columns [0, n).
NLL_INLINE void multiply_rows(const Tile& t, std::int64_t i, std::int64_t n, std::int64_t k, bool accumulate) {
  float* c = t.c + i * t.c_stride;
  const float* a = t.a + i * t.a_row;
  std::int64_t j = 0;
  for (; j + tile_vectors * width <= n; j += tile_vectors * width) {
    multiply_strip<tile_vectors>(c + j, t.c_stride, a, t.a_row, t.a_column, t.b + j, t.b_stride, k, accumulate);
  }
  if constexpr (tile_vectors == 4) {
    if (j + 2 * width <= n) {
      multiply_strip<2>(c + j, t.c_stride, a, t.a_row, t.a_column, t.b + j, t.b_stride, k, accumulate);
      j += 2 * width;
    }
  }
  for (; j < n; j += width) {
    multiply_strip<1>(c + j, t.c_stride, a, t.a_row, t.a_column, t.b + j, t.b_stride, k, accumulate);
  }
}

}  // namespace
}  // namespace nll::cpu
