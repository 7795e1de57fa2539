// Attention over a cache of keys and values.      B batch, S new positions, P = position + S, H heads, D head size
//   y_s = softmax(q_s . k_j / sqrt(D) over j <= position + s) v, the new k, v stored into the caches on the way
// Few new positions (decoding): one kernel, a block for each query of a head. Its warps share the keys in turns of
// `turn` keys, each with a running softmax of its own, which are merged in the order of the warps.
//   Bytes   reads 2 B P H D e for each new position (from the L2 cache after the first), writes 3 B S H D e.
//   Launch  B H S blocks of 512 threads.
// Many (a prompt): the new rows are copied, then plain_attention.cu goes over the cache by tiles.
// Sums    FP32, in an order that depends on P and the way only.
// Share of the roof: not yet measured on a GPU.
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/grid.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/number.cuh"
#include "kernels/cuda/plain_attention.h"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/warp.cuh"

namespace nll::cuda {
namespace {

constexpr int decoding_warps = 16, decoding_threads = decoding_warps * warp_size;
constexpr int turn = 4;  // keys that a warp takes at once: that many loads are on their way together
constexpr int dims_per_lane = static_cast<int>(plain_head_size_limit) / warp_size;
// From this many new positions on the tiles are worth their copies.
constexpr std::int64_t prompt_positions = 8;

template <class T>
struct Cached {
  const T* qkv;          // (B,S,3C)
  T *k_cache, *v_cache;  // (B,context,C)
  T* y;                  // (B,S,C)
  std::int64_t fresh, context, position, width;
  int heads, head_size;
  float scale;  // of the scores, in units of ln 2
};

// What a warp knows of its keys: the largest score m, sum e^(s - m), and sum e^(s - m) v. dims: D / 32, rounded up.
template <int dims>
struct WarpSoftmax {
  float largest, denominator, sum[dims];
};

// Keys [key, key + count) of this warp, count <= turn, from rows of k and v that begin there.
template <int dims, class T>
__device__ inline void take_keys(WarpSoftmax<dims>& state, const float (&q)[dims], const T* k, const T* v,
                                 std::int64_t row, int count, int head_size) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  float score[turn], value[turn][dims];
#pragma unroll
  for (int j = 0; j < turn; ++j) {
    score[j] = 0;
#pragma unroll
    for (int i = 0; i < dims; ++i) {
      const int d = lane + i * warp_size;
      const bool there = j < count && d < head_size;
      value[j][i] = there ? to_float(v[j * row + d]) : 0.0f;
      score[j] = fmaf(q[i], there ? to_float(k[j * row + d]) : 0.0f, score[j]);
    }
  }
  float next = state.largest;
#pragma unroll
  for (int j = 0; j < turn; ++j) {
    score[j] = j < count ? warp_sum(score[j]) : -INFINITY;
    next = fmaxf(next, score[j]);
  }
  const float shrink = exp2_approximate(state.largest - next);
  state.largest = next;
  state.denominator *= shrink;
#pragma unroll
  for (int i = 0; i < dims; ++i) state.sum[i] *= shrink;
#pragma unroll
  for (int j = 0; j < turn; ++j) {
    const float p = exp2_approximate(score[j] - next);
    state.denominator += p;
#pragma unroll
    for (int i = 0; i < dims; ++i) state.sum[i] = fmaf(p, value[j][i], state.sum[i]);
  }
}

template <class T, int dims>
__global__ void __launch_bounds__(decoding_threads) decode_attention_kernel(Cached<T> call) {
  __shared__ float largest[decoding_warps], denominator[decoding_warps];
  __shared__ float sums[decoding_warps][dims * warp_size];
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
  const int head_size = call.head_size;
  const std::int64_t query = blockIdx.x % call.fresh, all_head = blockIdx.x / call.fresh;
  const std::int64_t sequence = all_head / call.heads, in_row = all_head % call.heads * head_size;
  const std::int64_t new_row = 3 * call.width;
  const T* const first_new = call.qkv + sequence * call.fresh * new_row + in_row;
  const std::int64_t cache_at = sequence * call.context * call.width + in_row;

  // Each query stores its own position. Nobody reads it from the cache in this launch: new keys are read from qkv.
  const T* const own = first_new + query * new_row;
  const std::int64_t stored_at = cache_at + (call.position + query) * call.width;
  for (int d = static_cast<int>(threadIdx.x); d < head_size; d += decoding_threads) {
    call.k_cache[stored_at + d] = own[call.width + d];
    call.v_cache[stored_at + d] = own[2 * call.width + d];
  }

  float q[dims];
  WarpSoftmax<dims> state;
  state.largest = -INFINITY, state.denominator = 0;
#pragma unroll
  for (int i = 0; i < dims; ++i) {
    const int d = lane + i * warp_size;
    q[i] = d < head_size ? to_float(own[d]) * call.scale : 0.0f;
    state.sum[i] = 0;
  }
  for (std::int64_t key = warp * turn; key < call.position; key += decoding_warps * turn) {
    const std::int64_t left = call.position - key, at = cache_at + key * call.width;
    take_keys<dims>(state, q, call.k_cache + at, call.v_cache + at, call.width,
                    static_cast<int>(left < turn ? left : turn), head_size);
  }
  for (std::int64_t key = warp * turn; key <= query; key += decoding_warps * turn) {
    const std::int64_t left = query + 1 - key;
    const T* const k = first_new + key * new_row + call.width;
    take_keys<dims>(state, q, k, k + call.width, new_row, static_cast<int>(left < turn ? left : turn), head_size);
  }
  if (lane == 0) largest[warp] = state.largest, denominator[warp] = state.denominator;
#pragma unroll
  for (int i = 0; i < dims; ++i) sums[warp][lane + i * warp_size] = state.sum[i];
  __syncthreads();

  float most = -INFINITY;
  for (int w = 0; w < decoding_warps; ++w) most = fmaxf(most, largest[w]);
  float total = 0;
  for (int w = 0; w < decoding_warps; ++w) {
    // A warp without keys has nothing to add, whatever the others found.
    if (denominator[w] != 0.0f) total = fmaf(denominator[w], exp2_approximate(largest[w] - most), total);
  }
  T* const y = call.y + (sequence * call.fresh + query) * call.width + in_row;
  for (int d = static_cast<int>(threadIdx.x); d < head_size; d += decoding_threads) {
    float sum = 0;
    for (int w = 0; w < decoding_warps; ++w) {
      if (denominator[w] != 0.0f) sum = fmaf(sums[w][d], exp2_approximate(largest[w] - most), sum);
    }
    y[d] = from_float<T>(sum / total);
  }
}

// The new rows of k and v to the caches, a block a position.
template <class T>
__global__ void store_keys_kernel(Cached<T> call) {
  const std::int64_t index = blockIdx.x, sequence = index / call.fresh;
  const T* const from = call.qkv + index * 3 * call.width + call.width;
  const std::int64_t to = (sequence * call.context + call.position + index % call.fresh) * call.width;
  for (std::int64_t c = threadIdx.x; c < call.width; c += blockDim.x) {
    call.k_cache[to + c] = from[c];
    call.v_cache[to + c] = from[call.width + c];
  }
}

template <class T>
void decode(const Cached<T>& call, std::int64_t batch, cudaStream_t stream) {
  const dim3 grid = blocks_of(batch * call.heads * call.fresh), block(decoding_threads);
  if (call.head_size <= 2 * warp_size) {
    launch(decode_attention_kernel<T, 2>, grid, block, 0, stream, call);
  } else if (call.head_size <= 4 * warp_size) {
    launch(decode_attention_kernel<T, 4>, grid, block, 0, stream, call);
  } else {
    launch(decode_attention_kernel<T, dims_per_lane>, grid, block, 0, stream, call);
  }
}

template <class T>
void attend_prompt(const Cached<T>& call, std::int64_t batch, DType type, cudaStream_t stream) {
  launch(store_keys_kernel<T>, blocks_of(batch * call.fresh), dim3(256), 0, stream, call);
  AttentionRows rows;
  rows.type = type;
  rows.batch = batch, rows.heads = call.heads, rows.head_size = call.head_size;
  rows.queries = call.fresh, rows.first_position = call.position;
  rows.q = call.qkv, rows.k = call.k_cache, rows.v = call.v_cache;
  rows.q_row = 3 * call.width, rows.q_sequence = 3 * call.width * call.fresh;
  rows.kv_row = call.width, rows.kv_sequence = call.width * call.context;
  rows.y = call.y;
  rows.stream = stream;
  plain_attention_rows(rows);
}

}  // namespace

void CudaOps::attention_cached(Tensor y, Tensor k_cache, Tensor v_cache, Tensor qkv, std::int64_t position,
                               std::int64_t heads) {
  CHECK(qkv.rank() == 3);
  CHECK(qkv.dim(2) % 3 == 0);
  CHECK(k_cache.rank() == 3);
  const std::int64_t batch = qkv.dim(0), fresh = qkv.dim(1), width = qkv.dim(2) / 3, context = k_cache.dim(1);
  CHECK(heads >= 1);
  CHECK(width % heads == 0);
  CHECK(width / heads >= 1);
  CHECK(width / heads <= plain_head_size_limit);
  CHECK(position >= 0);
  CHECK(position + fresh <= context);
  const DType type = qkv.type();
  void* const keys = expect(k_cache, "k_cache", type, {batch, context, width});
  void* const values = expect(v_cache, "v_cache", type, {batch, context, width});
  void* const out = expect_rows(y, "y", type, batch * fresh, width);
  if (batch == 0 || fresh == 0) return;
  with_number_type(type, [&](auto tag) {
    using T = typename decltype(tag)::type;
    Cached<T> call{};
    call.qkv = static_cast<const T*>(qkv.data());
    call.k_cache = static_cast<T*>(keys), call.v_cache = static_cast<T*>(values), call.y = static_cast<T*>(out);
    call.fresh = fresh, call.context = context, call.position = position, call.width = width;
    call.heads = static_cast<int>(heads), call.head_size = static_cast<int>(width / heads);
    call.scale = 1.44269504f / std::sqrt(static_cast<float>(call.head_size));
    if (fresh < prompt_positions) {
      decode(call, batch, stream_->get());
    } else {
      attend_prompt(call, batch, type, stream_->get());
    }
  });
}

}  // namespace nll::cuda
