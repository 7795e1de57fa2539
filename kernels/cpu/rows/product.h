// Packed matrix product for AVX2 and AVX-512.                  c (M,N) = op(a) (M,K) op(b) (K,N) + beta c [+ bias]
// Loops, outermost first (after Goto and van de Geijn, 2008, with b streamed instead of a):
//   rows in blocks, K in chunks    so that a packed chunk of a stays in L2
//     columns in panels            b is packed once a block of rows, one panel at a time, into L1
//       K in blocks of depth_block
//         row panels               micro-kernel: tile_height x tile_width sums in registers, c is met once
//
// In training a block has all tokens of a batch, up to 1000 of them, so that the weights leave memory once a product.
// While a panel of b is multiplied, the next one is prefetched. beta = 0 writes c without reading it.
// Operations    2 M N K
// Accumulation  FP32, fused multiply-adds in the order of k within a block of K, the blocks added to c in order
// Determinism   an element depends on its row of a, its column of b, K and beta alone: blocks of K begin at 0 always,
//               and a tile at an edge does what a whole one does for the elements that it has
// Scratch       product_scratch floats, whatever the shape
// Rate          Xeon with AVX-512, one thread, 256 rows, weights from memory: 150 to 178 GFLOP/s (OpenBLAS 124 to 157);
//               AVX2 there 100 to 106 (OpenBLAS' Haswell kernels 98 to 104)
#pragma once
#if defined(__AVX2__)
#include "kernels/cpu/rows/pack.h"

namespace nll::cpu {
namespace {

// ---- sizes ----
// Two vectors of columns, which the micro-kernel names left and right; rows as registers allow: sums + the two vectors
// of b + one element of a in 32 (16) registers.
constexpr int tile_width = 2 * width, tile_height = width == 16 ? 14 : 6;
// A panel of b (32 or 16 KiB) and a panel of a (14 or 6 KiB) fit the 48 (32) KiB of L1 of the processors with AVX-512
// (AVX2); and 256 divides the widths that models have, and loads and stores of c cost 1 % of this many steps.
constexpr std::int64_t depth_block = 256;
constexpr std::int64_t a_panel = depth_block * tile_height + width;  // with the lanes too many of the last k
constexpr std::int64_t b_panel = depth_block * tile_width;
// A packed chunk of a takes 1 MiB: half the L2 of the server processors since 2017 (1 to 2 MiB). Where L2 is smaller it
// lies in L3, of which the micro-kernel asks 4 bytes a cycle.
constexpr std::int64_t a_panels = (std::int64_t{1} << 18) / (depth_block * tile_height) + 1;
constexpr std::int64_t product_scratch = b_panel + a_panels * a_panel;
constexpr std::int64_t a_ahead = 8 * 16;  // floats of a prefetched ahead: 8 lines, about 130 cycles

// What the next panel of b will be packed from; the micro-kernels take turns at fetching it.
struct Upcoming {
  const float *first = nullptr, *second = nullptr;
  std::int64_t step = 0;   // floats, from one fetch to the next
  std::int64_t count = 0;  // of fetches
};

struct TileCall {
  const float *a, *b;  // packed
  std::int64_t depth;
  float* c;
  std::int64_t c_stride, columns;
  bool first;  // block of K: beta and bias apply
  float beta;
  const float* bias;  // of these columns, or null
  Upcoming upcoming;
};

// The sums of a tile. Members, not arrays: the compiler keeps each in a register, as it does not with an array of 28.
template <int rows, int vectors>
struct Sums {
  Sums<rows - 1, vectors> above;
  Floats left{}, right{};

  NLL_INLINE void add(const float* a, Floats b_left, Floats b_right) {
    above.add(a, b_left, b_right);
    const Floats element = broadcast(a[rows - 1]);
    left += element * b_left;
    if constexpr (vectors == 2) right += element * b_right;
  }
  template <class Put>
  NLL_INLINE void write(const Put& put) const {
    above.write(put);
    put(rows - 1, left, right);
  }
};
template <int vectors>
struct Sums<0, vectors> {
  NLL_INLINE void add(const float*, Floats, Floats) {}
  template <class Put>
  NLL_INLINE void write(const Put&) const {}
};

template <int rows, int vectors>
NLL_INLINE void multiply_step(Sums<rows, vectors>& sums, const float*& a, const float*& b) {
  __builtin_prefetch(a + a_ahead, 0, 3);
  sums.add(a, load(b), vectors == 2 ? load(b + width) : Floats{});
  a += tile_height;
  b += tile_width;
}

// Adds a vector of sums to c, where `mask` says which lanes exist if not all do.
NLL_INLINE void write_sums(const TileCall& t, std::int64_t row, std::int64_t column, Floats value, bool whole,
                           Lanes mask) {
  float* c = t.c + row * t.c_stride + column;
  if (!t.first) {
    value += whole ? load(c) : load_lanes(c, mask);
  } else {
    if (t.beta != 0) value = broadcast(t.beta) * (whole ? load(c) : load_lanes(c, mask)) + value;
    if (t.bias != nullptr) value += whole ? load(t.bias + column) : load_lanes(t.bias + column, mask);
  }
  if (whole) {
    store(c, value);
  } else {
    store_lanes(c, value, mask);
  }
}

template <int rows, int vectors>
void multiply_tile(const TileCall& t) {
  for (int i = 0; i < rows; ++i) {
    __builtin_prefetch(t.c + i * t.c_stride, 1, 3);
    __builtin_prefetch(t.c + i * t.c_stride + t.columns - 1, 1, 3);
  }
  Sums<rows, vectors> sums;
  const float *a = t.a, *b = t.b;
  std::int64_t k = 0;
  const float *first = t.upcoming.first, *second = t.upcoming.second;
  for (std::int64_t fetch = 0; fetch < t.upcoming.count && k + 8 <= t.depth; ++fetch, k += 8) {
    __builtin_prefetch(first, 0, 2);
    __builtin_prefetch(second, 0, 2);
    first += t.upcoming.step;
    second += t.upcoming.step;
    for (int i = 0; i < 2; ++i) {
      multiply_step(sums, a, b);
      multiply_step(sums, a, b);
      multiply_step(sums, a, b);
      multiply_step(sums, a, b);
    }
  }
  for (; k + 4 <= t.depth; k += 4) {
    multiply_step(sums, a, b);
    multiply_step(sums, a, b);
    multiply_step(sums, a, b);
    multiply_step(sums, a, b);
  }
  for (; k < t.depth; ++k) multiply_step(sums, a, b);

  const bool whole = t.columns == vectors * width;
  const Lanes mask = lanes(t.columns - (vectors - 1) * width);
  sums.write([&](std::int64_t row, Floats left, Floats right) NLL_BODY {
    write_sums(t, row, 0, left, vectors == 2 || whole, mask);
    if constexpr (vectors == 2) write_sums(t, row, width, right, whole, mask);
  });
}

template <int rows>
NLL_INLINE void multiply_tile_of(std::int64_t height, const TileCall& tile) {
  if (height == rows) {
    tile.columns > width ? multiply_tile<rows, 2>(tile) : multiply_tile<rows, 1>(tile);
  } else if constexpr (rows > 1) {
    multiply_tile_of<rows - 1>(height, tile);
  }
}

// Rows [begin, begin + panels * tile_height) and k in [k0, k0 + depth) of op(a): panel i of block l of K begins at
// (l * panels + i) * a_panel.
void pack_a(float* to, const ProductBlock& p, std::int64_t begin, std::int64_t rows, std::int64_t panels,
            std::int64_t k0, std::int64_t depth) {
  constexpr std::int64_t slab = 16;  // rows read side by side, as many streams as the processor follows
  for (std::int64_t l = 0; l * depth_block < depth; ++l) {
    const std::int64_t k1 = k0 + l * depth_block;
    const std::int64_t part = depth - l * depth_block < depth_block ? depth - l * depth_block : depth_block;
    float* block_to = to + l * panels * a_panel;
    if (!p.a_transposed) {
      for (std::int64_t i = 0; i < panels; ++i) {
        const std::int64_t left = rows - i * tile_height;
        pack_transposed(block_to + i * a_panel, tile_height, p.a + (begin + i * tile_height) * p.a_stride + k1,
                        p.a_stride, left < tile_height ? left : tile_height, part);
      }
      continue;
    }
    for (std::int64_t k = 0; k < part; k += slab) {
      for (std::int64_t i = 0; i < panels; ++i) {
        const std::int64_t left = rows - i * tile_height;
        pack_copied(block_to + i * a_panel + k * tile_height, tile_height,
                    p.a + (k1 + k) * p.a_stride + begin + i * tile_height, p.a_stride,
                    left < tile_height ? left : tile_height, part - k < slab ? part - k : slab);
      }
    }
  }
}

void pack_b(float* to, const ProductBlock& p, std::int64_t column, std::int64_t columns, std::int64_t k,
            std::int64_t depth) {
  for (std::int64_t j = 0; j < columns; j += width) {
    const std::int64_t count = columns - j < width ? columns - j : width;
    if (p.b_transposed) {
      pack_transposed(to + j, tile_width, p.b + (column + j) * p.b_stride + k, p.b_stride, count, depth);
    } else {
      pack_copied(to + j, tile_width, p.b + k * p.b_stride + column + j, p.b_stride, count, depth);
    }
  }
}

// The share of call i in fetching the panel of b at (k, column).
NLL_INLINE Upcoming share_of(const ProductBlock& p, std::int64_t i, std::int64_t column, std::int64_t columns,
                             std::int64_t k, std::int64_t depth) {
  constexpr std::int64_t line = 16, most = depth_block / 8;
  Upcoming share;
  if (p.b_transposed) {  // two rows of b a call
    const std::int64_t row = 2 * i;
    if (row >= columns) return share;
    share.first = p.b + (column + row) * p.b_stride + k;
    share.second = row + 1 < columns ? share.first + p.b_stride : share.first;
    share.step = line;
    share.count = (depth + line - 1) / line;
  } else {  // `most` rows a call, two lines of each
    const std::int64_t row = most * i;
    if (row >= depth) return share;
    share.first = p.b + (k + row) * p.b_stride + column;
    share.second = share.first + columns - 1;
    share.step = p.b_stride;
    share.count = depth - row < most ? depth - row : most;
  }
  return share;
}

void multiply_packed(const ProductBlock& p, float* scratch) {
  float *const b = scratch, *const a = scratch + b_panel;
  const std::int64_t all_panels = (p.rows + tile_height - 1) / tile_height;
  const std::int64_t row_blocks = (all_panels + a_panels - 1) / a_panels;
  const std::int64_t panels_a_block = (all_panels + row_blocks - 1) / row_blocks;
  for (std::int64_t begin = 0; begin < p.rows; begin += panels_a_block * tile_height) {
    const std::int64_t most = panels_a_block * tile_height, rows = p.rows - begin < most ? p.rows - begin : most;
    const std::int64_t panels = (rows + tile_height - 1) / tile_height;
    const std::int64_t chunk = a_panels / panels * depth_block;
    for (std::int64_t k0 = 0; k0 < p.depth; k0 += chunk) {
      const std::int64_t end = p.depth - k0 < chunk ? p.depth : k0 + chunk;
      pack_a(a, p, begin, rows, panels, k0, end - k0);
      for (std::int64_t column = 0; column < p.columns; column += tile_width) {
        const std::int64_t columns = p.columns - column < tile_width ? p.columns - column : tile_width;
        for (std::int64_t k = k0; k < end; k += depth_block) {
          const std::int64_t depth = end - k < depth_block ? end - k : depth_block;
          pack_b(b, p, column, columns, k, depth);
          const bool last = k + depth_block >= end;
          const std::int64_t next_k = last ? k0 : k + depth_block, next = last ? column + tile_width : column;
          const std::int64_t next_depth = end - next_k < depth_block ? end - next_k : depth_block;
          const std::int64_t next_columns = p.columns - next < tile_width ? p.columns - next : tile_width;
          for (std::int64_t i = 0; i < panels; ++i) {
            const std::int64_t left = rows - i * tile_height, row = begin + i * tile_height;
            TileCall tile{a + ((k - k0) / depth_block * panels + i) * a_panel,
                          b,
                          depth,
                          p.c + row * p.c_stride + column,
                          p.c_stride,
                          columns,
                          k == 0,
                          p.beta,
                          p.bias == nullptr ? nullptr : p.bias + column,
                          {}};
            if (next_columns > 0) tile.upcoming = share_of(p, i, next, next_columns, next_k, next_depth);
            multiply_tile_of<tile_height>(left < tile_height ? left : tile_height, tile);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace nll::cpu
#endif
