// Causal attention by tiles with a running softmax, in FP32.                    B batch, T time, H heads, D head size
//   s_ij = q_i . k_j / sqrt(D) for j <= i,   y_i = sum_j e^(s_ij - lse_i) v_j,   lse_i = ln sum_j e^s_ij
// Bytes   reads 3 B T H D e and k, v again for each tile of queries (from the L2 cache), writes B T H D e + 4 B T H.
// Sums    FP32; the keys in tiles, in their order: nothing depends on the grid.
// Launch  256 threads a tile of queries of one head: 64 queries up to D = 128, 32 up to 256; the longest first.
// Share of the roof: not yet measured on a GPU. Bound by shared memory: 8 loads for 16 multiplications.
#include "kernels/cuda/plain_attention.h"

#include "kernels/cuda/grid.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/plain_attention_tile.cuh"
#include "kernels/cuda/ptx.cuh"

namespace nll::cuda {
namespace {

template <class T>
struct RowsOf {
  const T *q, *k, *v;
  std::int64_t q_row, q_sequence, kv_row, kv_sequence;
  T* y;
  float* lse;
  std::int64_t queries, first_position;
  int heads, head_size;
  unsigned all_heads;  // B * H
  float scale;         // of the scores, in units of ln 2
};

template <class T, int size, int widest>
__global__ void __launch_bounds__(square_threads) plain_attention_kernel(RowsOf<T> rows) {
  constexpr int side = size / square, columns = widest / square;
  const int head_size = rows.head_size, padded = padded_head_size(head_size);
  float* const q = reinterpret_cast<float*>(dynamic_shared());  // (size, padded)
  float* const kv = q + size * (padded + 1);                    // (size, padded): keys, then values
  float* const p = kv + size * (padded + 1);                    // (size, size)
  const unsigned tiles = gridDim.x / rows.all_heads;
  const std::int64_t begin = static_cast<std::int64_t>(tiles - 1 - blockIdx.x / rows.all_heads) * size;
  const std::int64_t all_head = blockIdx.x % rows.all_heads, sequence = all_head / rows.heads;
  const std::int64_t in_row = all_head % rows.heads * head_size;
  const int count = static_cast<int>(rows.queries - begin < size ? rows.queries - begin : size);
  const std::int64_t first = rows.first_position + begin, keys = first + count;
  const std::int64_t kv_at = sequence * rows.kv_sequence + in_row;

  load_tile<size>(q, rows.q + sequence * rows.q_sequence + begin * rows.q_row + in_row, rows.q_row, count, head_size,
                  rows.scale);
  float largest[side], denominator[side], y[side][columns];
#pragma unroll
  for (int i = 0; i < side; ++i) {
    largest[i] = -INFINITY, denominator[i] = 0;
#pragma unroll
    for (int c = 0; c < columns; ++c) y[i][c] = 0;
  }
  for (std::int64_t key = 0; key < keys; key += size) {
    const int there = static_cast<int>(keys - key < size ? keys - key : size);
    load_tile<size>(kv, rows.k + kv_at + key * rows.kv_row, rows.kv_row, there, head_size, 1.0f);
    __syncthreads();
    float s[side][side];
    multiply_rows<side>(s, q, kv, padded);
#pragma unroll
    for (int i = 0; i < side; ++i) {
      const std::int64_t visible = first + thread_down() + square * i - key;  // keys of this tile up to here
      float high = -INFINITY;
#pragma unroll
      for (int j = 0; j < side; ++j) {
        if (thread_across() + square * j > visible) s[i][j] = -INFINITY;
        high = fmaxf(high, s[i][j]);
      }
      const float next = fmaxf(largest[i], reduce_across(high, Maximum{}));
      const float shrink = exp2_approximate(largest[i] - next);
      largest[i] = next;
      denominator[i] *= shrink;
#pragma unroll
      for (int j = 0; j < side; ++j) {
        s[i][j] = exp2_approximate(s[i][j] - next);
        denominator[i] += s[i][j];
      }
#pragma unroll
      for (int c = 0; c < columns; ++c) y[i][c] *= shrink;
    }
    store_square(p, s);
    __syncthreads();
    load_tile<size>(kv, rows.v + kv_at + key * rows.kv_row, rows.kv_row, there, head_size, 1.0f);
    __syncthreads();
    multiply_add<false>(y, p, kv, there, padded);
    __syncthreads();
  }
  float inverse[side];
#pragma unroll
  for (int i = 0; i < side; ++i) {
    denominator[i] = reduce_across(denominator[i], Sum{});
    inverse[i] = 1.0f / denominator[i];
    const int at = thread_down() + square * i;
    if (rows.lse != nullptr && thread_across() == 0 && at < count) {
      rows.lse[all_head * rows.queries + begin + at] = fmaf(largest[i], ln2, logf(denominator[i]));
    }
  }
  const std::int64_t width = static_cast<std::int64_t>(rows.heads) * head_size;
  store_rows(rows.y + (sequence * rows.queries + begin) * width + in_row, width, count, head_size, y, inverse);
}

template <int size, int widest, class T>
void launch_forward(const RowsOf<T>& rows, cudaStream_t stream) {
  const int padded = padded_head_size(rows.head_size);
  launch(plain_attention_kernel<T, size, widest>, blocks_of(pieces(rows.queries, size) * rows.all_heads),
         dim3(square_threads), sizeof(float) * (2 * size * (padded + 1) + size * (size + 1)), stream, rows);
}

}  // namespace

void plain_attention_rows(const AttentionRows& call) {
  CHECK(call.head_size >= 1);
  CHECK(call.head_size <= plain_head_size_limit);
  if (call.batch == 0 || call.queries == 0) return;
  with_number_type(call.type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    RowsOf<T> rows{};
    rows.q = static_cast<const T*>(call.q), rows.k = static_cast<const T*>(call.k);
    rows.v = static_cast<const T*>(call.v), rows.y = static_cast<T*>(call.y);
    rows.q_row = call.q_row, rows.q_sequence = call.q_sequence;
    rows.kv_row = call.kv_row, rows.kv_sequence = call.kv_sequence;
    rows.lse = call.lse;
    rows.queries = call.queries, rows.first_position = call.first_position;
    rows.heads = static_cast<int>(call.heads), rows.head_size = static_cast<int>(call.head_size);
    rows.all_heads = static_cast<unsigned>(call.batch * call.heads);
    rows.scale = per_ln2 / std::sqrt(static_cast<float>(call.head_size));
    if (call.head_size <= 64) return launch_forward<64, 64>(rows, call.stream);
    if (call.head_size <= 128) return launch_forward<64, 128>(rows, call.stream);
    launch_forward<32, 256>(rows, call.stream);
  });
}

void plain_attention_forward(const AttentionCall& call) {
  const std::int64_t width = call.width(), bytes = bytes_of(call.type);
  const auto part = [&](std::int64_t which) {
    return static_cast<const void*>(static_cast<const unsigned char*>(call.qkv) + which * width * bytes);
  };
  AttentionRows rows;
  rows.type = call.type;
  rows.batch = call.batch, rows.heads = call.heads, rows.head_size = call.head_size, rows.queries = call.time;
  rows.q = part(0), rows.k = part(1), rows.v = part(2);
  rows.q_row = rows.kv_row = 3 * width;
  rows.q_sequence = rows.kv_sequence = 3 * width * call.time;
  rows.y = call.y, rows.lse = call.lse;
  rows.stream = call.stream;
  plain_attention_rows(rows);
}

}  // namespace nll::cuda
