// The gradient of causal attention by tiles, in FP32.                           B batch, T time, H heads, D head size
//   p_ij = e^(s_ij - lse_i),  delta_i = dy_i . y_i,  ds_ij = p_ij (dy_i . v_j - delta_i)
//   dq_i = sum_j ds_ij k_j / sqrt(D),  dk_j = sum_i ds_ij q_i / sqrt(D),  dv_j = sum_i p_ij dy_i
// Three kernels: delta; dq, a block for a tile of queries that goes through the keys; dk with dv, a block for a tile of
// keys that goes through the queries. The scores are computed twice, and nothing is added by two blocks: no atomics.
// Bytes   reads 5 B T H D e twice and the inner tiles again (from the L2 cache), writes 3 B T H D e.
// Sums    FP32, tiles in their order: nothing depends on the grid.
// Launch  256 threads a tile of one head: 64 rows up to D = 64, 32 up to 128, 16 up to 256; the longest first.
// Share of the roof: not yet measured on a GPU.
#include "kernels/cuda/grid.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/plain_attention.h"
#include "kernels/cuda/plain_attention_tile.cuh"
#include "kernels/cuda/ptx.cuh"

namespace nll::cuda {
namespace {

template <class T>
struct Backward {
  const T *qkv, *y, *dy;
  const float* lse;
  float* delta;  // (B,H,T)
  T* dqkv;
  std::int64_t time, width;
  int heads, head_size;
  unsigned all_heads;  // B * H
  float scale;         // 1 / sqrt(D)

  // Element 0 of head `all_head` in (B,T,3C) and in (B,T,C).
  __device__ std::int64_t at_qkv(std::int64_t all_head) const {
    return all_head / heads * time * 3 * width + all_head % heads * head_size;
  }
  __device__ std::int64_t at_y(std::int64_t all_head) const {
    return all_head / heads * time * width + all_head % heads * head_size;
  }
};

// A warp a row of (B,T,H).
template <class T>
__global__ void attention_delta_kernel(Backward<T> call, std::int64_t rows) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * (blockDim.x / warp_size) + warp;
  if (row >= rows) return;
  const T *y = call.y + row * call.head_size, *dy = call.dy + row * call.head_size;
  float sum = 0;
  for (int d = lane; d < call.head_size; d += warp_size) sum = fmaf(to_float(dy[d]), to_float(y[d]), sum);
  sum = warp_sum(sum);
  const std::int64_t token = row / call.heads, head = row % call.heads;
  const std::int64_t all_head = token / call.time * call.heads + head;
  if (lane == 0) call.delta[all_head * call.time + token % call.time] = sum;
}

// The tiles in shared memory: rows of queries and of keys, and what lies between them.
template <int size>
struct Tiles {
  float *q, *dy, *k, *v, *p, *ds;
  __device__ explicit Tiles(int padded) {
    const int rows = size * (padded + 1), between = size * (size + 1);
    q = reinterpret_cast<float*>(dynamic_shared());
    dy = q + rows, k = dy + rows, v = k + rows;
    p = v + rows, ds = p + between;
  }
  static std::size_t bytes(int padded) { return sizeof(float) * (4 * size * (padded + 1) + 2 * size * (size + 1)); }
};

// p and ds of the tile of queries from `query` on and the tile of keys from `key` on; 0 where a query does not see the
// key or is not there. q holds queries times scale / ln 2.
template <class T, int size>
__device__ inline void score_gradients(float (&p)[size / square][size / square],
                                       float (&ds)[size / square][size / square], const Tiles<size>& tiles,
                                       const Backward<T>& call, std::int64_t all_head, std::int64_t query,
                                       std::int64_t key, int padded) {
  constexpr int side = size / square;
  multiply_rows<side>(p, tiles.q, tiles.k, padded);
  multiply_rows<side>(ds, tiles.dy, tiles.v, padded);
#pragma unroll
  for (int i = 0; i < side; ++i) {
    const std::int64_t at = query + thread_down() + square * i;
    const bool there = at < call.time;
    const float lse = there ? call.lse[all_head * call.time + at] * per_ln2 : 0.0f;
    const float delta = there ? call.delta[all_head * call.time + at] : 0.0f;
#pragma unroll
    for (int j = 0; j < side; ++j) {
      const bool seen = there && key + thread_across() + square * j <= at;
      p[i][j] = seen ? exp2_approximate(p[i][j] - lse) : 0.0f;
      ds[i][j] = seen ? p[i][j] * (ds[i][j] - delta) : 0.0f;
    }
  }
}

template <int side, int columns>
__device__ inline void clear(float (&sum)[side][columns]) {
#pragma unroll
  for (int i = 0; i < side; ++i) {
#pragma unroll
    for (int c = 0; c < columns; ++c) sum[i][c] = 0;
  }
}

template <int size>
__device__ inline int rows_there(std::int64_t begin, std::int64_t time) {
  return static_cast<int>(time - begin < size ? time - begin : size);
}

template <class T, int size, int widest>
__global__ void __launch_bounds__(square_threads) attention_dq_kernel(Backward<T> call) {
  constexpr int side = size / square;
  const int padded = padded_head_size(call.head_size);
  const Tiles<size> tiles(padded);
  const std::int64_t all_head = blockIdx.x % call.all_heads, row = 3 * call.width;
  const std::int64_t query =
      static_cast<std::int64_t>(gridDim.x / call.all_heads - 1 - blockIdx.x / call.all_heads) * size;
  const T* const q = call.qkv + call.at_qkv(all_head);
  const int count = rows_there<size>(query, call.time);
  load_tile<size>(tiles.q, q + query * row, row, count, call.head_size, call.scale * per_ln2);
  load_tile<size>(tiles.dy, call.dy + call.at_y(all_head) + query * call.width, call.width, count, call.head_size,
                  1.0f);
  float dq[side][widest / square];
  clear(dq);
  for (std::int64_t key = 0; key <= query; key += size) {
    const int there = rows_there<size>(key, call.time);
    load_tile<size>(tiles.k, q + call.width + key * row, row, there, call.head_size, 1.0f);
    load_tile<size>(tiles.v, q + 2 * call.width + key * row, row, there, call.head_size, 1.0f);
    __syncthreads();
    float p[side][side], ds[side][side];
    score_gradients<T, size>(p, ds, tiles, call, all_head, query, key, padded);
    store_square(tiles.ds, ds);
    __syncthreads();
    multiply_add<false>(dq, tiles.ds, tiles.k, there, padded);
    __syncthreads();
  }
  float factor[side];
  for (float& f : factor) f = call.scale;
  store_rows(call.dqkv + call.at_qkv(all_head) + query * row, row, count, call.head_size, dq, factor);
}

template <class T, int size, int widest>
__global__ void __launch_bounds__(square_threads) attention_dkdv_kernel(Backward<T> call) {
  constexpr int side = size / square;
  const int padded = padded_head_size(call.head_size);
  const Tiles<size> tiles(padded);
  const std::int64_t all_head = blockIdx.x % call.all_heads, row = 3 * call.width;
  const std::int64_t key = static_cast<std::int64_t>(blockIdx.x / call.all_heads) * size;
  const T* const q = call.qkv + call.at_qkv(all_head);
  const T* const dy = call.dy + call.at_y(all_head);
  const int count = rows_there<size>(key, call.time);
  load_tile<size>(tiles.k, q + call.width + key * row, row, count, call.head_size, 1.0f);
  load_tile<size>(tiles.v, q + 2 * call.width + key * row, row, count, call.head_size, 1.0f);
  float dk[side][widest / square], dv[side][widest / square];
  clear(dk);
  clear(dv);
  for (std::int64_t query = key; query < call.time; query += size) {
    const int there = rows_there<size>(query, call.time);
    load_tile<size>(tiles.q, q + query * row, row, there, call.head_size, call.scale * per_ln2);
    load_tile<size>(tiles.dy, dy + query * call.width, call.width, there, call.head_size, 1.0f);
    __syncthreads();
    float p[side][side], ds[side][side];
    score_gradients<T, size>(p, ds, tiles, call, all_head, query, key, padded);
    store_square(tiles.p, p);
    store_square(tiles.ds, ds);
    __syncthreads();
    multiply_add<true>(dv, tiles.p, tiles.dy, there, padded);
    multiply_add<true>(dk, tiles.ds, tiles.q, there, padded);
    __syncthreads();
  }
  float of_key[side], of_value[side];
  for (float& f : of_key) f = ln2;  // q held scale / ln 2
  for (float& f : of_value) f = 1.0f;
  T* const dkv = call.dqkv + call.at_qkv(all_head) + key * row + call.width;
  store_rows(dkv, row, count, call.head_size, dk, of_key);
  store_rows(dkv + call.width, row, count, call.head_size, dv, of_value);
}

template <int size, int widest, class T>
void launch_backward(const Backward<T>& call, cudaStream_t stream) {
  const dim3 grid = blocks_of(pieces(call.time, size) * call.all_heads), block(square_threads);
  const std::size_t shared = Tiles<size>::bytes(padded_head_size(call.head_size));
  launch(attention_dq_kernel<T, size, widest>, grid, block, shared, stream, call);
  launch(attention_dkdv_kernel<T, size, widest>, grid, block, shared, stream, call);
}

}  // namespace

void plain_attention_backward(const AttentionCall& call) {
  CHECK(call.head_size >= 1);
  CHECK(call.head_size <= plain_head_size_limit);
  const std::int64_t rows = call.batch * call.time * call.heads;
  if (rows == 0) return;
  with_number_type(call.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    Backward<T> backward{};
    backward.qkv = static_cast<const T*>(call.qkv), backward.y = static_cast<const T*>(call.y);
    backward.dy = static_cast<const T*>(call.dy), backward.dqkv = static_cast<T*>(call.dqkv);
    backward.lse = call.lse;
    backward.delta = call.scratch->get<float>(rows);
    backward.time = call.time, backward.width = call.width();
    backward.heads = static_cast<int>(call.heads), backward.head_size = static_cast<int>(call.head_size);
    backward.all_heads = static_cast<unsigned>(call.batch * call.heads);
    backward.scale = 1.0f / std::sqrt(static_cast<float>(call.head_size));
    constexpr std::int64_t rows_per_block = square_threads / warp_size;
    launch(attention_delta_kernel<T>, blocks_of(pieces(rows, rows_per_block)), dim3(square_threads), 0, call.stream,
           backward, rows);
    if (call.head_size <= 64) return launch_backward<64, 64>(backward, call.stream);
    if (call.head_size <= 128) return launch_backward<32, 128>(backward, call.stream);
    launch_backward<16, 256>(backward, call.stream);
  });
}

}  // namespace nll::cuda
