// Flash attention, backward, in three kernels.      B batch, T time, H heads, D head size (64, 128), C = H * D
//   S = Q K^T / sqrt(D),  P = e^(S - lse),  dP = dY V^T,  dS = P (dP - D_i),  D_i = dY_i . Y_i
//   dV = P^T dY,  dK = dS^T Q / sqrt(D),  dQ = dS K / sqrt(D)
// FLOPs  2 B H D T(T+1)/2 a product: dK and dV make 4 products (S, dP again), dQ makes 3. That is 7 where one kernel
//        for all three makes 5: 40% more is the price of a dQ that needs neither atomics nor turns between blocks.
// Bytes  (e = 2 an element) statistics: read 2 B T C e, written 8 B H T. Each of the others: read 4 B T C e, two of the
//        four operands again for each tile of the other two, from L2 (groups of heads, flash_schedule.h); written
//        2 B T C e (dK, dV) and B T C e (dQ).
// Sums   FP32; P and dS are rounded to BF16 or FP16 as factors.
// Launch statistics: D / 8 lanes a row, 32 rows a block. dK and dV: one block of 4 warps for 128 (D = 64) or 64
//        (D = 128) keys of a head. dQ: one for 128 queries. What the sums run over streams by in steps of 32 rows by
//        cp.async, one step ahead; P and dS are computed where they are factors next, in registers. Longest first.
//        dK, dV  D = 64: 251 registers (sm_80; 252 sm_90a), 49 KB shared; D = 128: 239 (244), 64.5 KB
//        dQ      D = 64: 182 (190), 49 KB;  D = 128: 255, 97 KB
//        None spills; 2 blocks a multiprocessor, but dQ at D = 128 only 1 on sm_80, which has 164 KB.
// Order  dK, dV: queries ascend in steps of 32 from the diagonal; dQ: keys ascend in steps of 32. Nothing else matters.
// Share of the roof: not yet measured on a GPU.
#include "kernels/cuda/flash_attention.cuh"
#include "kernels/cuda/flash_tile.cuh"
#include "kernels/cuda/flash_tile_sizes.cuh"
#include "kernels/cuda/launch.cuh"

namespace nll::cuda {
namespace {

// Of a query: lse in units of ln 2, and D. Queries beyond the end have zeros: with q and dy zero too, their dS is 0.
struct alignas(8) Statistics {
  float lse, dot;
};
// Of two neighbours, read together.
struct alignas(16) StatisticsPair {
  Statistics at[2];
};

// Queries of a block: whole steps, so that the padding is written too.
constexpr int statistics_rows = 32;

// statistics (B*H, padded T)
template <class T, int head_size>
__global__ void __launch_bounds__(statistics_rows* head_size / 8)
    flash_attention_statistics_kernel(Statistics* statistics, const T* dy, const T* y, const float* lse,
                                      FlashSchedule schedule) {
  constexpr int lanes = head_size / 8;
  const FlashWork work = flash_work(schedule, static_cast<int>(blockIdx.x));
  const int query = work.order * statistics_rows + static_cast<int>(threadIdx.x) / lanes;
  float dot = 0;
  if (query < schedule.time) {
    const std::int64_t row = work.own(schedule, head_size) + static_cast<std::int64_t>(query) * schedule.width;
    const std::int64_t at = row + static_cast<int>(threadIdx.x) % lanes * 8;
    const Pack<T, 8> a = load_pack<8>(dy + at), b = load_pack<8>(y + at);
#pragma unroll
    for (int i = 0; i < 8; ++i) dot = fmaf(to_float(a.at[i]), to_float(b.at[i]), dot);
  }
#pragma unroll
  for (int distance = lanes / 2; distance > 0; distance /= 2) dot += __shfl_xor_sync(all_lanes, dot, distance);
  if (static_cast<int>(threadIdx.x) % lanes != 0) return;
  constexpr float per_ln2 = 1.44269504f;
  const std::int64_t head = work.head;
  statistics[head * schedule.padded_time + query] = {
      query < schedule.time ? lse[head * schedule.time + query] * per_ln2 : 0.0f, dot};
}

// Shared memory of both kernels: two tiles that stay, two stages of two tiles that pass, the statistics of queries.
template <class T, int head_size, int rows>
struct BackwardShared {
  static constexpr int step = FlashTiles<head_size>::backward_step;
  static constexpr int staying_elements = rows * head_size, passing_elements = step * head_size;
  static constexpr int statistics_at = (2 * staying_elements + 4 * passing_elements) * static_cast<int>(sizeof(T));
  static constexpr int bytes = statistics_at + std::max(2 * step, rows) * static_cast<int>(sizeof(Statistics));
};

template <class T, int head_size>
__global__ void __launch_bounds__(flash_threads)
    flash_attention_keys_kernel(T* dqkv, const T* dy_in, const T* qkv, const Statistics* statistics,
                                FlashSchedule schedule) {
  using Tiles = FlashTiles<head_size>;
  using Shared = BackwardShared<T, head_size, Tiles::backward_keys>;
  using HeadTile = Tile<T, head_size>;
  constexpr int keys = Tiles::backward_keys, step = Tiles::backward_step;
  constexpr int m = Tiles::keys_per_warp / 16, n = step / 8;
  const FlashWork work = flash_work(schedule, static_cast<int>(blockIdx.x));
  const int first_key = work.order * keys, warp_row = warp_of_thread() * Tiles::keys_per_warp;
  const int first_row = first_key + warp_row;
  const Rows<const T> q{qkv + work.packed(schedule, head_size), 3 * schedule.width, schedule.time};
  const Rows<const T> k{q.data + schedule.width, q.stride, q.count}, v{k.data + schedule.width, q.stride, q.count};
  const Rows<const T> dy{dy_in + work.own(schedule, head_size), schedule.width, schedule.time};
  statistics += static_cast<std::int64_t>(work.head) * schedule.padded_time;

  T* const shared = reinterpret_cast<T*>(dynamic_shared());
  Statistics* const shared_statistics = reinterpret_cast<Statistics*>(dynamic_shared() + Shared::statistics_at);
  const HeadTile k_tile{shared}, v_tile{shared + Shared::staying_elements};
  const HeadTile own_k = k_tile.below(warp_row), own_v = v_tile.below(warp_row);
  const auto q_tile = [&](int stage) {
    return HeadTile{shared + 2 * Shared::staying_elements + 2 * stage * Shared::passing_elements};
  };
  const auto dy_tile = [&](int stage) { return HeadTile{q_tile(stage).data + Shared::passing_elements}; };
  // Of this lane's two columns in part j of a stage.
  const auto statistics_of = [&](int stage, int j) {
    const Statistics* const at = shared_statistics + stage * step + 8 * j + lane_of_thread() % 4 * 2;
    return *reinterpret_cast<const StatisticsPair*>(at);
  };
  const auto copy_queries = [&](int first_query, int stage) {
    copy_rows<step, flash_threads>(q_tile(stage), q, first_query);
    copy_rows<step, flash_threads>(dy_tile(stage), dy, first_query);
    const int pair = static_cast<int>(threadIdx.x) * 2;
    if (pair < step) cp_async_16(shared_statistics + stage * step + pair, statistics + first_query + pair, true);
  };
  copy_rows<keys, flash_threads>(k_tile, k, first_key);
  copy_rows<keys, flash_threads>(v_tile, v, first_key);
  copy_queries(first_key, 0);
  cp_async_commit();

  float dk[m][head_size / 8][4] = {}, dv[m][head_size / 8][4] = {};
  for (int first_query = first_key, stage = 0; first_query < schedule.time; first_query += step, stage ^= 1) {
    // This step is there, and everybody is done with the one before it, in whose place the next one comes.
    cp_async_wait<0>();
    __syncthreads();
    if (first_query + step < schedule.time) copy_queries(first_query + step, stage ^ 1);
    cp_async_commit();
    if (first_query + step <= first_row) continue;  // all before this warp's keys
    float p[m][n][4] = {}, ds[m][n][4] = {};
    std::uint32_t factor[m][n / 2][4];
    multiply_transposed(p, own_k, q_tile(stage));
    // Keys beyond the end of the sequence are beyond the diagonal of all queries.
    if (first_query < first_row + Tiles::keys_per_warp - 1) mask_above_diagonal<false>(p, first_row, first_query);
#pragma unroll
    for (int j = 0; j < n; ++j) {
      const StatisticsPair pair = statistics_of(stage, j);
#pragma unroll
      for (int i = 0; i < m; ++i) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          p[i][j][e] = exp2_approximate(fmaf(p[i][j][e], schedule.scale_base2, -pair.at[e % 2].lse));
        }
      }
    }
    round_to_factor<T>(factor, p);
    multiply_registers(dv, factor, dy_tile(stage));
    multiply_transposed(ds, own_v, dy_tile(stage));
#pragma unroll
    for (int j = 0; j < n; ++j) {
      const StatisticsPair pair = statistics_of(stage, j);  // again, to spare the registers
#pragma unroll
      for (int i = 0; i < m; ++i) {
#pragma unroll
        for (int e = 0; e < 4; ++e) ds[i][j][e] = p[i][j][e] * (ds[i][j][e] - pair.at[e % 2].dot);
      }
    }
    round_to_factor<T>(factor, ds);
    multiply_registers(dk, factor, q_tile(stage));
  }

#pragma unroll
  for (int i = 0; i < m; ++i) {
#pragma unroll
    for (int j = 0; j < head_size / 8; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) dk[i][j][e] *= schedule.scale;
    }
  }
  const Rows<T> dk_out{dqkv + work.packed(schedule, head_size) + schedule.width, q.stride, q.count};
  store_rows(dk_out, first_row, dk, own_k);
  store_rows(Rows<T>{dk_out.data + schedule.width, q.stride, q.count}, first_row, dv, own_v);
}

template <class T, int head_size>
__global__ void __launch_bounds__(flash_threads)
    flash_attention_queries_kernel(T* dqkv, const T* dy_in, const T* qkv, const Statistics* statistics,
                                   FlashSchedule schedule) {
  using Tiles = FlashTiles<head_size>;
  using Shared = BackwardShared<T, head_size, Tiles::backward_queries>;
  using HeadTile = Tile<T, head_size>;
  constexpr int queries = Tiles::backward_queries, step = Tiles::backward_step, rows_per_warp = queries / flash_warps;
  constexpr int m = rows_per_warp / 16, n = step / 8;
  const FlashWork work = flash_work(schedule, static_cast<int>(blockIdx.x));
  const int first_query = (schedule.tiles - 1 - work.order) * queries;
  const int warp_row = warp_of_thread() * rows_per_warp, first_row = first_query + warp_row;
  const int end_key = min(first_query + queries, schedule.time);
  const Rows<const T> q{qkv + work.packed(schedule, head_size), 3 * schedule.width, schedule.time};
  const Rows<const T> k{q.data + schedule.width, q.stride, q.count}, v{k.data + schedule.width, q.stride, q.count};
  const Rows<const T> dy{dy_in + work.own(schedule, head_size), schedule.width, schedule.time};

  T* const shared = reinterpret_cast<T*>(dynamic_shared());
  Statistics* const shared_statistics = reinterpret_cast<Statistics*>(dynamic_shared() + Shared::statistics_at);
  const HeadTile q_tile{shared}, dy_tile{shared + Shared::staying_elements};
  const HeadTile own_q = q_tile.below(warp_row), own_dy = dy_tile.below(warp_row);
  const auto k_tile = [&](int stage) {
    return HeadTile{shared + 2 * Shared::staying_elements + 2 * stage * Shared::passing_elements};
  };
  const auto v_tile = [&](int stage) { return HeadTile{k_tile(stage).data + Shared::passing_elements}; };
  const auto copy_keys = [&](int first_key, int stage) {
    copy_rows<step, flash_threads>(k_tile(stage), k, first_key);
    copy_rows<step, flash_threads>(v_tile(stage), v, first_key);
  };
  copy_rows<queries, flash_threads>(q_tile, q, first_query);
  copy_rows<queries, flash_threads>(dy_tile, dy, first_query);
  const int pair = static_cast<int>(threadIdx.x) * 2;
  if (pair < queries) {
    const bool inside = first_query + pair < schedule.padded_time;
    statistics += static_cast<std::int64_t>(work.head) * schedule.padded_time + (inside ? first_query + pair : 0);
    cp_async_16(shared_statistics + pair, statistics, inside);
  }
  copy_keys(0, 0);
  cp_async_commit();

  float dq[m][head_size / 8][4] = {};
  for (int first_key = 0, stage = 0; first_key < end_key; first_key += step, stage ^= 1) {
    // This step is there, and everybody is done with the one before it, in whose place the next one comes.
    cp_async_wait<0>();
    __syncthreads();
    if (first_key + step < end_key) copy_keys(first_key + step, stage ^ 1);
    cp_async_commit();
    if (first_key >= first_row + rows_per_warp) continue;  // all beyond this warp's queries
    float p[m][n][4] = {}, ds[m][n][4] = {};
    std::uint32_t factor[m][n / 2][4];
    multiply_transposed(p, own_q, k_tile(stage));
    multiply_transposed(ds, own_dy, v_tile(stage));
    if (first_key + step > first_row + 1) mask_above_diagonal<true>(p, first_row, first_key);
#pragma unroll
    for (int i = 0; i < m; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        // From shared memory each time, to spare the registers.
        const Statistics own = shared_statistics[warp_row + 16 * i + 8 * half + lane_of_thread() / 4];
#pragma unroll
        for (int j = 0; j < n; ++j) {
#pragma unroll
          for (int e = 2 * half; e < 2 * half + 2; ++e) {
            const float probability = exp2_approximate(fmaf(p[i][j][e], schedule.scale_base2, -own.lse));
            ds[i][j][e] = probability * (ds[i][j][e] - own.dot);
          }
        }
      }
    }
    round_to_factor<T>(factor, ds);
    multiply_registers(dq, factor, k_tile(stage));
  }

#pragma unroll
  for (int i = 0; i < m; ++i) {
#pragma unroll
    for (int j = 0; j < head_size / 8; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) dq[i][j][e] *= schedule.scale;
    }
  }
  store_rows(Rows<T>{dqkv + work.packed(schedule, head_size), q.stride, q.count}, first_row, dq, own_q);
}

template <class T, int head_size>
void backward(const AttentionCall& call) {
  using Tiles = FlashTiles<head_size>;
  T* const dqkv = static_cast<T*>(call.dqkv);
  const T *const dy = static_cast<const T*>(call.dy), *const qkv = static_cast<const T*>(call.qkv);
  const std::int64_t padded = flash_schedule(call, statistics_rows).padded_time;
  Statistics* const statistics = call.scratch->get<Statistics>(checked_product(call.batch * call.heads, padded));
  const auto start = [&](auto kernel, int rows, int threads, int shared_bytes, auto... arguments) {
    const FlashSchedule schedule = flash_schedule(call, rows);
    launch(kernel, dim3(schedule.blocks()), dim3(static_cast<unsigned>(threads)),
           static_cast<std::size_t>(shared_bytes), call.stream, arguments..., schedule);
  };
  start(flash_attention_statistics_kernel<T, head_size>, statistics_rows, statistics_rows * head_size / 8, 0,
        statistics, dy, static_cast<const T*>(call.y), call.lse);
  start(flash_attention_keys_kernel<T, head_size>, Tiles::backward_keys, flash_threads,
        BackwardShared<T, head_size, Tiles::backward_keys>::bytes, dqkv, dy, qkv, statistics);
  start(flash_attention_queries_kernel<T, head_size>, Tiles::backward_queries, flash_threads,
        BackwardShared<T, head_size, Tiles::backward_queries>::bytes, dqkv, dy, qkv, statistics);
}

}  // namespace

void flash_attention_backward(const AttentionCall& call) {
  CHECK(flash_attention_fits(call));
  if (call.batch * call.time * call.heads == 0) return;
  with_flash_kernel(call,
                    [&](auto tag, auto size) { backward<typename decltype(tag)::type, decltype(size)::value>(call); });
}

}  // namespace nll::cuda
