// Flash attention, forward.                       B batch, T time, H heads, D head size (64, 128), C = H * D
//   y_i = sum_j p_ij v_j / l_i,  p_ij = e^(s_ij - m_i),  l_i = sum_j p_ij,  lse_i = m_i + log l_i,  s = q k^T / sqrt(D)
// FLOPs  4 B H D T(T+1)/2 that count; tiles on the diagonal add half a tile of 64 keys for 32 queries.
// Bytes  (e = 2 an element) read 3 B T C e, K and V again for each tile of queries, from L2 (groups of heads,
//        flash_schedule.h); written B T C e + 4 B H T.
// Sums   scores, y and l in FP32; P is rounded to BF16 or FP16 as the factor of the second product, l is of P
//        before that.
// Launch one block of 4 warps for 128 queries of a head, 32 a warp, last queries (longest) first. K and V tiles of 64
//        rows come by cp.async through a ring of three, one product ahead; P never leaves the registers.
//        D = 64: 204 registers (sm_80; 208 sm_90a), 40 KB shared; D = 128: 254, 80 KB. None spills; 2 blocks a
//        multiprocessor on both.
// Order  keys ascend in steps of 64: a row's bits depend on its own keys only, not on T, nor on the grid.
// Share of the roof: not yet measured on a GPU.
#include "kernels/cuda/flash_attention.cuh"
#include "kernels/cuda/flash_tile.cuh"
#include "kernels/cuda/flash_tile_sizes.cuh"
#include "kernels/cuda/launch.cuh"

namespace nll::cuda {
namespace {

template <class T, int head_size>
struct ForwardShared {
  using Tiles = FlashTiles<head_size>;
  static constexpr int query_elements = Tiles::forward_queries * head_size;
  static constexpr int key_elements = Tiles::forward_keys * head_size;
  static constexpr int bytes = (query_elements + 3 * key_elements) * static_cast<int>(sizeof(T));
};

// Takes one tile of scores (not scaled) into the running softmax of each row; s becomes p. y and `sum` shrink when the
// row's maximum grows. sum: of this lane's columns only.
template <int m, int n, int columns>
__device__ inline void accumulate_softmax(float (&s)[m][n][4], float (&maximum)[m][2], float (&sum)[m][2],
                                          float (&y)[m][columns][4], float scale) {
  float shrink[m][2];
  bool grown = false;
#pragma unroll
  for (int i = 0; i < m; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float largest = maximum[i][half];
#pragma unroll
      for (int j = 0; j < n; ++j) largest = fmaxf(largest, fmaxf(s[i][j][2 * half], s[i][j][2 * half + 1]));
      largest = fmaxf(largest, __shfl_xor_sync(all_lanes, largest, 1));
      largest = fmaxf(largest, __shfl_xor_sync(all_lanes, largest, 2));
      shrink[i][half] = exp2_approximate((maximum[i][half] - largest) * scale);
      grown = grown || largest != maximum[i][half];
      maximum[i][half] = largest;
      const float offset = largest * scale;
      float part = 0;
#pragma unroll
      for (int j = 0; j < n; ++j) {
#pragma unroll
        for (int e = 2 * half; e < 2 * half + 2; ++e) {
          s[i][j][e] = exp2_approximate(fmaf(s[i][j][e], scale, -offset));
          part += s[i][j][e];
        }
      }
      sum[i][half] = fmaf(sum[i][half], shrink[i][half], part);
    }
  }
  // After the first keys maxima grow seldom. Where none of the warp's rows has grown, all factors are exactly 1.
  if (__any_sync(all_lanes, grown)) {
#pragma unroll
    for (int i = 0; i < m; ++i) {
#pragma unroll
      for (int j = 0; j < columns; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) y[i][j][e] *= shrink[i][e / 2];
      }
    }
  }
}

template <class T, int head_size>
__global__ void __launch_bounds__(flash_threads)
    flash_attention_forward_kernel(T* y_out, float* lse_out, const T* qkv, FlashSchedule schedule) {
  using Tiles = FlashTiles<head_size>;
  using Shared = ForwardShared<T, head_size>;
  using HeadTile = Tile<T, head_size>;
  constexpr int queries = Tiles::forward_queries, keys = Tiles::forward_keys, rows_per_warp = queries / flash_warps;
  constexpr int m = rows_per_warp / 16, n = keys / 8;
  const FlashWork work = flash_work(schedule, static_cast<int>(blockIdx.x));
  const int first_query = (schedule.tiles - 1 - work.order) * queries;
  const int warp_row = warp_of_thread() * rows_per_warp, first_row = first_query + warp_row;
  const int key_tiles = (min(first_query + queries, schedule.time) + keys - 1) / keys;
  const Rows<const T> q{qkv + work.packed(schedule, head_size), 3 * schedule.width, schedule.time};
  const Rows<const T> k{q.data + schedule.width, q.stride, q.count}, v{k.data + schedule.width, q.stride, q.count};

  T* const shared = reinterpret_cast<T*>(dynamic_shared());
  const HeadTile q_tile{shared}, own_tile = q_tile.below(warp_row);
  HeadTile k_tile{q_tile.data + Shared::query_elements};
  HeadTile v_tile{k_tile.data + Shared::key_elements};
  HeadTile free_tile{v_tile.data + Shared::key_elements};
  copy_rows<queries, flash_threads>(q_tile, q, first_query);
  copy_rows<keys, flash_threads>(k_tile, k, 0);
  cp_async_commit();
  copy_rows<keys, flash_threads>(v_tile, v, 0);
  cp_async_commit();

  float y[m][head_size / 8][4] = {}, maximum[m][2], sum[m][2] = {};
#pragma unroll
  for (int i = 0; i < m; ++i) maximum[i][0] = maximum[i][1] = -INFINITY;
  for (int tile = 0; tile < key_tiles; ++tile) {
    const int first_key = tile * keys, next_key = first_key + keys;
    const bool more = tile + 1 < key_tiles;
    const bool visible = first_key < first_row + rows_per_warp;  // to any of this warp's queries
    // K is there, and everybody is done with the V before it, in whose place the next K comes.
    cp_async_wait<1>();
    __syncthreads();
    if (more) copy_rows<keys, flash_threads>(free_tile, k, next_key);
    cp_async_commit();
    std::uint32_t p[m][n / 2][4];  // set and read where visible
    if (visible) {
      float s[m][n][4] = {};
      multiply_transposed(s, own_tile, k_tile);
      // Keys beyond the end of the sequence are beyond the diagonal of all queries that are not.
      if (next_key > first_row + 1) mask_above_diagonal<true>(s, first_row, first_key);
      accumulate_softmax(s, maximum, sum, y, schedule.scale_base2);
      round_to_factor<T>(p, s);
    }
    // V is there, and everybody is done with this K, in whose place the next V comes.
    cp_async_wait<1>();
    __syncthreads();
    if (more) copy_rows<keys, flash_threads>(k_tile, v, next_key);
    cp_async_commit();
    if (visible) multiply_registers(y, p, v_tile);
    T* const next_k = free_tile.data;
    free_tile.data = v_tile.data;
    v_tile.data = k_tile.data;
    k_tile.data = next_k;
  }

  const int lane = lane_of_thread();
#pragma unroll
  for (int i = 0; i < m; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float total = sum[i][half];
      total += __shfl_xor_sync(all_lanes, total, 1);
      total += __shfl_xor_sync(all_lanes, total, 2);
      const float inverse = 1.0f / total;
#pragma unroll
      for (int j = 0; j < head_size / 8; ++j) {
        y[i][j][2 * half] *= inverse;
        y[i][j][2 * half + 1] *= inverse;
      }
      const int query = first_row + 16 * i + 8 * half + lane / 4;
      if (lane % 4 == 0 && query < schedule.time) {
        lse_out[static_cast<std::int64_t>(work.head) * schedule.time + query] =
            fmaf(maximum[i][half], schedule.scale, logf(total));
      }
    }
  }
  store_rows(Rows<T>{y_out + work.own(schedule, head_size), schedule.width, schedule.time}, first_row, y, own_tile);
}

template <class T, int head_size>
void forward(const AttentionCall& call) {
  const FlashSchedule schedule = flash_schedule(call, FlashTiles<head_size>::forward_queries);
  launch(flash_attention_forward_kernel<T, head_size>, dim3(schedule.blocks()), dim3(flash_threads),
         ForwardShared<T, head_size>::bytes, call.stream, static_cast<T*>(call.y), call.lse,
         static_cast<const T*>(call.qkv), schedule);
}

}  // namespace

bool flash_attention_fits(const AttentionCall& call) {
  return (call.type == DType::bf16 || call.type == DType::f16) && (call.head_size == 64 || call.head_size == 128) &&
         aligned_to(call.qkv, 16) && aligned_to(call.y, 16) && aligned_to(call.dy, 16) && aligned_to(call.dqkv, 16);
}

void flash_attention_forward(const AttentionCall& call) {
  CHECK(flash_attention_fits(call));
  if (call.batch * call.time * call.heads == 0) return;
  with_flash_kernel(call,
                    [&](auto tag, auto size) { forward<typename decltype(tag)::type, decltype(size)::value>(call); });
}

}  // namespace nll::cuda
