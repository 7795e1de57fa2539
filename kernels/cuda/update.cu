// Flat arenas of n elements: conversion, the search for what is not finite, the gradient norm; and the update's state.
//   norm = sqrt(sum x^2);   guard (+)= 0, or NaN where any value is not finite
// Bytes    convert n (sizeof from + sizeof to); find_nonfinite n sizeof value; square_sums 4 n
// Sums     norm: in double, where the square of any float fits. A block sums 4096 elements, its threads' sums
//          are added in a tree, then the blocks' sums by one block: an order that depends on n only. The rest has none
// Launch   256 threads a block, 4 accesses of 16 bytes on their way to each (of one element where an address is not
//          aligned); the state is one thread's work
// H100     share of the roof: not yet measured on a GPU
#include <cmath>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/grid.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/row.cuh"

namespace nll::cuda {
namespace {

constexpr int threads = 256;
constexpr int packs = 4;  // on their way to a thread at once
constexpr std::int64_t norm_block = Ops::norm_block;
// Gradients times a larger loss scale leave FP16's range.
constexpr float largest_loss_scale = 1 << 24;

// ---- conversion ----

// Packs of n by all, and what is left over behind them by the first threads.
template <class To, class From, int n>
__global__ void __launch_bounds__(threads) convert_elements(To* to, const From* from, std::int64_t count) {
  const std::int64_t first = (static_cast<std::int64_t>(blockIdx.x) * packs * threads + threadIdx.x) * n;
  Stored<From, n> incoming[packs];
#pragma unroll
  for (int p = 0; p < packs; ++p) {
    const std::int64_t i = first + p * threads * n;
    if (i + n <= count) incoming[p] = load_stored<n>(from + i);
  }
#pragma unroll
  for (int p = 0; p < packs; ++p) {
    const std::int64_t i = first + p * threads * n;
    if (i + n > count) continue;
    float x[n];
    unpack(x, incoming[p]);
    store_floats(to + i, x);
  }
  const std::int64_t left = count - count % n + threadIdx.x;
  if (blockIdx.x == 0 && left < count) to[left] = from_float<To>(to_float(from[left]));
}

// ---- values that are not finite ----

__global__ void clear_guard(float* guard) { *guard = 0.0f; }

// Whoever finds one says so; it does not matter who is the last to.
template <class T, int n>
__global__ void __launch_bounds__(threads) guard_against(float* guard, const T* values, std::int64_t count) {
  const std::int64_t first = (static_cast<std::int64_t>(blockIdx.x) * packs * threads + threadIdx.x) * n;
  Stored<T, n> incoming[packs];
#pragma unroll
  for (int p = 0; p < packs; ++p) {
    const std::int64_t i = first + p * threads * n;
    incoming[p] = {};
    if (i + n <= count) incoming[p] = load_stored<n>(values + i);
  }
  bool finite = true;
#pragma unroll
  for (int p = 0; p < packs; ++p) {
#pragma unroll
    for (int k = 0; k < n; ++k) finite = finite && std::isfinite(incoming[p][k]);
  }
  const std::int64_t left = count - count % n + threadIdx.x;
  if (blockIdx.x == 0 && left < count) finite = finite && std::isfinite(to_float(values[left]));
  if (!finite) *guard = NAN;
}

// ---- norm ----

// Sum over a block; `shared` holds one number a warp.
__device__ double block_sum(double x, double* shared) {
  for (int distance = warp_size / 2; distance > 0; distance /= 2) x += __shfl_xor_sync(all_lanes, x, distance);
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
  if (lane == 0) shared[warp] = x;
  __syncthreads();
  x = lane < static_cast<int>(blockDim.x) / warp_size ? shared[lane] : 0.0;
  for (int distance = warp_size / 2; distance > 0; distance /= 2) x += __shfl_xor_sync(all_lanes, x, distance);
  return x;
}

// A thread meets the same elements in the same order whether it loads `n` of them at once or one.
template <int n>
__global__ void __launch_bounds__(threads) sum_squares(double* sums, const float* x, std::int64_t count) {
  __shared__ double of_warps[warp_size];
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * norm_block;
  const std::int64_t end = begin + norm_block < count ? begin + norm_block : count;
  double sum[4] = {0, 0, 0, 0};
  for (std::int64_t first = begin + static_cast<std::int64_t>(threadIdx.x) * 4; first < end;
       first += packs * threads * 4) {
    float incoming[packs][4];
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      const std::int64_t i = first + p * threads * 4;
      if (n == 4 && i + 4 <= end) {
        load_floats(incoming[p], x + i);
      } else {
#pragma unroll
        for (int k = 0; k < 4; ++k) incoming[p][k] = i + k < end ? x[i + k] : 0.0f;
      }
    }
#pragma unroll
    for (int p = 0; p < packs; ++p) {
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        sum[k] += static_cast<double>(incoming[p][k]) * static_cast<double>(incoming[p][k]);
      }
    }
  }
  const double total = block_sum((sum[0] + sum[1]) + (sum[2] + sum[3]), of_warps);
  if (threadIdx.x == 0) sums[blockIdx.x] = total;
}

__global__ void __launch_bounds__(1024) root_of_sum(float* norm, const double* sums, std::int64_t count) {
  __shared__ double of_warps[warp_size];
  double sum = 0;
#pragma unroll 8
  for (std::int64_t i = threadIdx.x; i < count; i += blockDim.x) sum += sums[i];
  sum = block_sum(sum, of_warps);
  if (threadIdx.x == 0) *norm = static_cast<float>(sqrt(sum));
}

// ---- state ----

__global__ void decide_update(UpdateState* state, const float* norm, const float* guard, const AdamW settings) {
  UpdateState now = *state;
  const double scale = now.loss_scale;
  const double length = static_cast<double>(*norm) / scale + static_cast<double>(*guard);
  now.norm = static_cast<float>(length);
  if (std::isfinite(length)) {
    now.updates += 1;
    const double clip = settings.clip_norm, updates = now.updates;
    now.gradient_factor = static_cast<float>((clip > 0 && length > clip ? clip / length : 1.0) / scale);
    now.rate = static_cast<float>(static_cast<double>(now.learning_rate) /
                                  (1 - pow(static_cast<double>(settings.beta1), updates)));
    now.root = static_cast<float>(1 / sqrt(1 - pow(static_cast<double>(settings.beta2), updates)));
  }
  *state = now;
}

__global__ void adjust_loss_scale(UpdateState* state, std::int32_t interval) {
  if (!std::isfinite(state->norm)) {
    state->loss_scale = fmaxf(1.0f, state->loss_scale / 2);
    state->good_updates = 0;
  } else if (++state->good_updates >= interval) {
    state->loss_scale = fminf(largest_loss_scale, state->loss_scale * 2);
    state->good_updates = 0;
  }
}

UpdateState* update_state(const Tensor& state) {
  CHECK(state.bytes() == static_cast<std::int64_t>(sizeof(UpdateState)));
  return static_cast<UpdateState*>(state.data());
}

}  // namespace

void CudaOps::convert(Tensor to, Tensor from) {
  const std::int64_t count = from.size();
  expect_size(to, "to", to.type(), count);
  CHECK((to.type() == DType::f32 || from.type() == DType::f32));
  with_number_type(to.type(), [&](auto to_type) {
    with_number_type(from.type(), [&](auto from_type) {
      using To = typename decltype(to_type)::type;
      using From = typename decltype(from_type)::type;
      if constexpr (sizeof(To) == 4 || sizeof(From) == 4) {
        constexpr int n = neighbours<To, From>;
        auto* const out = static_cast<To*>(to.data());
        const auto* const in = static_cast<const From*>(from.data());
        const bool vectors = aligned_to(out, n * sizeof(To)) && aligned_to(in, n * sizeof(From));
        launch(vectors ? convert_elements<To, From, n> : convert_elements<To, From, 1>,
               blocks_of(pieces(count, packs * threads * (vectors ? n : 1))), threads, 0, stream_->get(), out, in,
               count);
      }
    });
  });
}

void CudaOps::find_nonfinite(Tensor guard, Into into, Tensor values) {
  auto* const found = static_cast<float*>(expect_size(guard, "guard", DType::f32, 1));
  if (into == Into::write) launch(clear_guard, 1, 1, 0, stream_->get(), found);
  with_number_type(values.type(), [&](auto type) {
    using T = typename decltype(type)::type;
    constexpr int n = neighbours<T>;
    const auto* const x = static_cast<const T*>(values.data());
    const bool vectors = aligned_to(x, 16);
    launch(vectors ? guard_against<T, n> : guard_against<T, 1>,
           blocks_of(pieces(values.size(), packs * threads * (vectors ? n : 1))), threads, 0, stream_->get(), found, x,
           values.size());
  });
}

void CudaOps::square_sums(Tensor sums, Tensor values) {
  const std::int64_t count = values.size(), blocks = pieces(count, norm_block);
  auto* const out = static_cast<double*>(expect_size(sums, "sums", DType::f64, blocks));
  const float* const x = values.as<float>();
  launch(aligned_to(x, 16) ? sum_squares<4> : sum_squares<1>, blocks_of(blocks), threads, 0, stream_->get(), out, x,
         count);
}

void CudaOps::norm(Tensor norm, Tensor sums) {
  auto* const out = static_cast<float*>(expect_size(norm, "norm", DType::f32, 1));
  launch(root_of_sum, 1, 1024, 0, stream_->get(), out, static_cast<const double*>(sums.as<double>()), sums.size());
}

void CudaOps::begin_update(Tensor state, Tensor norm, Tensor guard, const AdamW& settings) {
  launch(decide_update, 1, 1, 0, stream_->get(), update_state(state),
         static_cast<const float*>(expect_size(norm, "norm", DType::f32, 1)),
         static_cast<const float*>(expect_size(guard, "guard", DType::f32, 1)), settings);
}

void CudaOps::end_update(Tensor state, const AdamW& settings) {
  if (settings.loss_scale_interval == 0) return;
  launch(adjust_loss_scale, 1, 1, 0, stream_->get(), update_state(state), settings.loss_scale_interval);
}

}  // namespace nll::cuda
