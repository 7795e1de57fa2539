// One row of logits as one block sees it: where its numbers are read from, what they become (u), and the sums over the
// vocabulary that all by-products are made of.                                  V vocabulary, n numbers in a pack
// The block goes through the row in chunks, `packs` packs a thread: so many loads are on their way before the first is
// used. Pack k of a thread lies k * blockDim.x packs behind its first, so that a warp reads neighbours.
#pragma once
#include <cuda_runtime.h>

#include "kernels/cuda/number.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/warp.cuh"

namespace nll::cuda {

inline constexpr int row_threads_limit = 512;
// e^x is 0 long before, and times the size of a vocabulary this is still a number: 0 * infinity never turns up.
inline constexpr float lowest_exponent = -1e30f;

// u of a logit z: the same bits wherever it is computed, so never fused with what is done to it.
struct LogitTransform {
  float factor;        // without a softcap: u = factor z
  float inner, outer;  // with one: u = outer tanh(inner z)
  template <bool capped>
  __device__ float apply(float z) const {
    if constexpr (capped) return __fmul_rn(outer, tanhf(__fmul_rn(inner, z)));
    return __fmul_rn(factor, z);
  }
  // du/dz without its constant part, which is factor or inner * outer: 1 - tanh^2 = 4 e / (1 + e)^2, e = e^-2|inner z|.
  template <bool capped>
  __device__ float derivative(float z) const {
    if constexpr (capped) {
      const float e = expf(-2.0f * fabsf(inner * z)), s = 1.0f + e;
      return 4.0f * e / (s * s);
    }
    return 1.0f;
  }
};

// A row of logits, its first chunks kept in shared memory once they have been read.
template <class T, int n>
struct LogitRow {
  static constexpr int packs = n == 1 ? 8 : 16 / n;
  static constexpr int values = packs * n;  // of a chunk, for each thread
  const T* logits;                          // (stored)
  T* kept;                                  // (kept_columns)
  int kept_columns;                         // whole chunks
  int vocabulary;

  __host__ __device__ static constexpr int chunk(int threads) { return threads * values; }
  __device__ static int chunk() { return chunk(static_cast<int>(blockDim.x)); }
  // Column of value i of this thread's part of the chunk at `base`.
  __device__ static int column(int base, int i) {
    return base + (i / n * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x)) * n + i % n;
  }

  // The chunk at `base` from memory; `whole`: all of it lies below column `end`, else what does not is 0.
  template <bool whole>
  __device__ void load(Pack<T, n> (&packed)[packs], int base, int end) const {
#pragma unroll
    for (int k = 0; k < packs; ++k) {
      const int at = column(base, k * n);
      if (whole || at < end) {
        packed[k] = load_pack<n>(logits + at);
      } else {
        packed[k] = {};
      }
    }
  }
  // The first time: what fits is kept.
  template <bool whole>
  __device__ void read(Pack<T, n> (&packed)[packs], int base, int end) const {
    load<whole>(packed, base, end);
    if (base >= kept_columns) return;
#pragma unroll
    for (int k = 0; k < packs; ++k) store_pack(kept + column(base, k * n), packed[k]);
  }
  // Later. A thread reads what it kept itself, so no barrier is needed in between.
  template <bool whole>
  __device__ void read_again(Pack<T, n> (&packed)[packs], int base, int end) const {
    if (base >= kept_columns) return load<whole>(packed, base, end);
#pragma unroll
    for (int k = 0; k < packs; ++k) packed[k] = load_pack<n>(kept + column(base, k * n));
  }
};

// Sums over some columns, relative to their own maximum m: what was left out of `below` is exactly 1 each, so that
// d' = below + (ties - 1) keeps its digits however small it is.
struct RowSums {
  float maximum;   // m
  float below;     // sum of e^(u_j - m) over u_j < m
  float ties;      // #{u_j = m}
  float weighted;  // sum of e^(u_j - m) (u_j - m)
  float total;     // sum of u_j - m
  float count;     // of columns
};

__device__ inline RowSums no_sums() { return {-INFINITY, 0, 0, 0, 0, 0}; }

// Nothing below -infinity: a reference that keeps u_j - m a number or minus infinity.
__device__ inline float finite_reference(float maximum) { return maximum == -INFINITY ? 0.0f : maximum; }

// The same sums relative to a larger maximum. Products are rounded by themselves: whichever of two is changed, the
// butterfly's lanes agree.
__device__ inline RowSums relative_to(const RowSums& sums, float maximum) {
  const float difference = sums.maximum - maximum, shrink = expf(difference);
  const float denominator = sums.below + sums.ties;
  // Where nothing was finite, `total` is relative to 0.
  const float shift = finite_reference(sums.maximum) - maximum;
  return {maximum,
          __fmul_rn(shrink, denominator),
          0.0f,
          __fmul_rn(shrink, fmaf(denominator, fmaxf(difference, lowest_exponent), sums.weighted)),
          fmaf(sums.count, shift, sums.total),
          sums.count};
}

// Commutes, so that all lanes of a butterfly hold the same bits.
__device__ inline RowSums merged(RowSums a, RowSums b) {
  if (a.maximum < b.maximum) a = relative_to(a, b.maximum);
  if (b.maximum < a.maximum) b = relative_to(b, a.maximum);
  return {a.maximum, a.below + b.below, a.ties + b.ties, a.weighted + b.weighted, a.total + b.total, a.count + b.count};
}

__device__ inline RowSums warp_merge(RowSums sums) {
  for (int distance = warp_size / 2; distance > 0; distance /= 2) {
    RowSums other;
    other.maximum = __shfl_xor_sync(all_lanes, sums.maximum, distance);
    other.below = __shfl_xor_sync(all_lanes, sums.below, distance);
    other.ties = __shfl_xor_sync(all_lanes, sums.ties, distance);
    other.weighted = __shfl_xor_sync(all_lanes, sums.weighted, distance);
    other.total = __shfl_xor_sync(all_lanes, sums.total, distance);
    other.count = __shfl_xor_sync(all_lanes, sums.count, distance);
    sums = merged(sums, other);
  }
  return sums;
}

// Over the block; every thread gets the same bits. `shared` holds one entry a warp. One barrier, in the middle.
__device__ inline RowSums block_merge(RowSums sums, RowSums* shared) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
  sums = warp_merge(sums);
  if (lane == 0) shared[warp] = sums;
  __syncthreads();
  sums = lane < static_cast<int>(blockDim.x) / warp_size ? shared[lane] : no_sums();
  return warp_merge(sums);
}

// Adds the chunk at `base`, whose maximum is taken first, so that the sums are rescaled once a chunk at most. `whole`:
// all its columns are of the vocabulary.
template <bool whole, bool capped, class Logit, int n>
__device__ inline void add_chunk(RowSums& sums, const LogitRow<Logit, n>& row, const LogitTransform& transform,
                                 int base) {
  using Row = LogitRow<Logit, n>;
  Pack<Logit, n> z[Row::packs];
  row.template read<whole>(z, base, row.vocabulary);
  float u[Row::values], largest = -INFINITY, live = Row::values;
#pragma unroll
  for (int i = 0; i < Row::values; ++i) {
    u[i] = transform.apply<capped>(to_float(z[i / n].at[i % n]));
    if (!whole && Row::column(base, i) >= row.vocabulary) u[i] = -INFINITY, live -= 1.0f;
    largest = fmaxf(largest, u[i]);
  }
  if (largest > sums.maximum) sums = relative_to(sums, largest);
  const float reference = finite_reference(sums.maximum);
  float below = 0, ties = 0, weighted = 0, total = 0;
#pragma unroll
  for (int i = 0; i < Row::values; ++i) {
    const float x = u[i] - reference, e = expf(x);
    if (x == 0.0f) {
      ties += 1.0f;
    } else {
      below += e;
    }
    weighted = fmaf(e, fmaxf(x, lowest_exponent), weighted);
    if (whole || Row::column(base, i) < row.vocabulary) total += x;
  }
  sums.below += below;
  sums.ties += ties;
  sums.weighted += weighted;
  sums.total += total;
  sums.count += live;
}

// The sums of this thread's columns; `largest_at`: its first chunk that reaches their maximum, or -1.
template <bool capped, class Logit, int n>
__device__ inline RowSums sum_columns(const LogitRow<Logit, n>& row, const LogitTransform& transform, int& largest_at) {
  const int chunk = LogitRow<Logit, n>::chunk();
  RowSums sums = no_sums();
  largest_at = -1;
  int base = 0;
  for (; base + chunk <= row.vocabulary; base += chunk) {
    const float before = sums.maximum;
    add_chunk<true, capped>(sums, row, transform, base);
    if (sums.maximum > before) largest_at = base;
  }
  if (base < row.vocabulary) {
    const float before = sums.maximum;
    add_chunk<false, capped>(sums, row, transform, base);
    if (sums.maximum > before) largest_at = base;
  }
  return sums;
}

// The lowest of this thread's columns in the chunk at `base` whose u is `maximum`.
template <bool capped, class Logit, int n>
__device__ inline int first_equal(const LogitRow<Logit, n>& row, const LogitTransform& transform, int base,
                                  float maximum) {
  using Row = LogitRow<Logit, n>;
  for (int i = 0; i < Row::values; ++i) {
    const int column = Row::column(base, i);
    if (column < row.vocabulary && transform.apply<capped>(to_float(row.logits[column])) == maximum) return column;
  }
  return 0;
}

// What evaluation asks for beyond: this thread's share of sum e^(2 (u_j - m)) and of the rank less 1.
template <bool capped, class Logit, int n>
__device__ inline void sum_squares_and_rank(const LogitRow<Logit, n>& row, const LogitTransform& transform,
                                            float maximum, float own, int target, float& squares, int& ahead) {
  using Row = LogitRow<Logit, n>;
  squares = 0, ahead = 0;
  for (int base = 0; base < row.vocabulary; base += Row::chunk()) {
    Pack<Logit, n> z[Row::packs];
    row.template read_again<false>(z, base, row.vocabulary);
#pragma unroll
    for (int i = 0; i < Row::values; ++i) {
      const int column = Row::column(base, i);
      if (column >= row.vocabulary) continue;
      const float u = transform.apply<capped>(to_float(z[i / n].at[i % n])), e = expf(u - maximum);
      squares = fmaf(e, e, squares);
      ahead += u > own || (u == own && column < target) ? 1 : 0;
    }
  }
}

}  // namespace nll::cuda
