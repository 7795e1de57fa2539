// The scalar head: one number for each token.                             n tokens, C width; h, dh in T, the rest in
// FP32
//   values[i] = sum_c h[i,c] weight[c]
//   g = dvalues * loss_scale;  dh[i] (+)= g[i] weight,  dweight (+)= sum_i g[i] h[i]
// Bytes    forward n C e + 4 n; dh n C e written, as much read where it is added to; dweight n C e for tokens that have
//          a dvalues, and 8 C ceil(n / 256) for partial sums; e bytes an element of T. The weight stays in the caches
// Sums     FP32. Values: a lane's columns in order, then a butterfly over the warp. dweight: thread (p, r) of a block
// of
//          256 tokens adds tokens r, r + 8, ... in order, then the eight partial sums, then the blocks, in order: the
//          order depends on n only. dh is rounded once
// Launch   forward and dh: a warp a token, 8 a block. dweight: blocks of 32 x 8 threads, 32 packs of columns by 256
//          tokens. 16-byte accesses, or one by one where C or an address keeps them away
// H100     share of the roof: not yet measured on a GPU
#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/grid.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/row.cuh"

namespace nll::cuda {
namespace {

constexpr int tokens_per_block = 8;
constexpr int tokens_of_sum = 256, packs_of_sum = 32, lanes_of_sum = 8;

template <class T>
struct ScalarHeadCall {
  T* dh;
  const T* h;
  float *values, *parts;
  const float *dvalues, *weight, *loss_scale;  // loss_scale null: 1
  std::int64_t tokens, width;
  bool add;
};

template <class T>
__device__ inline float gradient_of(const ScalarHeadCall<T>& call, std::int64_t token) {
  const float g = call.dvalues[token];
  return call.loss_scale == nullptr ? g : g * *call.loss_scale;
}

template <class T, int n>
__global__ void __launch_bounds__(tokens_per_block* warp_size) scalar_values(const ScalarHeadCall<T> call) {
  const std::int64_t token = static_cast<std::int64_t>(blockIdx.x) * tokens_per_block + threadIdx.x / warp_size;
  if (token >= call.tokens) return;
  float sum = 0;
  for (std::int64_t column = threadIdx.x % warp_size * n; column < call.width; column += warp_size * n) {
    float h[n], weight[n];
    load_floats(h, call.h + token * call.width + column);
    load_floats(weight, call.weight + column);
#pragma unroll
    for (int k = 0; k < n; ++k) sum = fmaf(h[k], weight[k], sum);
  }
  sum = warp_sum(sum);
  if (threadIdx.x % warp_size == 0) call.values[token] = sum;
}

template <class T, int n>
__global__ void __launch_bounds__(tokens_per_block* warp_size) scalar_gradient(const ScalarHeadCall<T> call) {
  const std::int64_t token = static_cast<std::int64_t>(blockIdx.x) * tokens_per_block + threadIdx.x / warp_size;
  if (token >= call.tokens) return;
  const bool takes_part = call.dvalues[token] != 0;
  if (!takes_part && call.add) return;
  const float g = gradient_of(call, token);
  for (std::int64_t column = threadIdx.x % warp_size * n; column < call.width; column += warp_size * n) {
    T* const to = call.dh + token * call.width + column;
    float dh[n] = {}, weight[n];
    if (call.add) load_floats(dh, to);
    if (takes_part) {
      load_floats(weight, call.weight + column);
#pragma unroll
      for (int k = 0; k < n; ++k) dh[k] = fmaf(g, weight[k], dh[k]);
    }
    store_floats(to, dh);
  }
}

template <class T, int n>
__global__ void __launch_bounds__(packs_of_sum* lanes_of_sum) scalar_weight_parts(const ScalarHeadCall<T> call) {
  __shared__ float shared[lanes_of_sum][packs_of_sum][n];
  const int p = static_cast<int>(threadIdx.x), lane = static_cast<int>(threadIdx.y);
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.x) * packs_of_sum + p) * n;
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.y) * tokens_of_sum;
  const std::int64_t end = begin + tokens_of_sum < call.tokens ? begin + tokens_of_sum : call.tokens;
  float sum[n] = {};
  if (column < call.width) {
    for (std::int64_t token = begin + lane; token < end; token += lanes_of_sum) {
      if (call.dvalues[token] == 0) continue;
      const float g = gradient_of(call, token);
      float h[n];
      load_floats(h, call.h + token * call.width + column);
#pragma unroll
      for (int k = 0; k < n; ++k) sum[k] = fmaf(g, h[k], sum[k]);
    }
  }
  for (int k = 0; k < n; ++k) shared[lane][p][k] = sum[k];
  __syncthreads();
  if (lane != 0 || column >= call.width) return;
  for (int k = 0; k < n; ++k) {
    float total = 0;
    for (int other = 0; other < lanes_of_sum; ++other) total += shared[other][p][k];
    call.parts[static_cast<std::int64_t>(blockIdx.y) * call.width + column + k] = total;
  }
}

template <class T>
ScalarHeadCall<T> call_of(Tensor h, Tensor weight, std::int64_t tokens) {
  ScalarHeadCall<T> call{};
  call.tokens = tokens;
  call.width = weight.size();
  call.h = static_cast<const T*>(expect_rows(h, "h", h.type(), tokens, call.width));
  call.weight = static_cast<const float*>(expect_size(weight, "weight", DType::f32, call.width));
  return call;
}

template <class T>
bool vectors_of(const ScalarHeadCall<T>& call) {
  return call.width % per_16_bytes<T> == 0 && aligned_to(call.h, 16) && aligned_to(call.dh, 16) &&
         aligned_to(call.weight, 16);
}

template <class T>
void launch_tokens(void (*kernel)(ScalarHeadCall<T>), const Stream& stream, const ScalarHeadCall<T>& call) {
  launch(kernel, blocks_of(pieces(call.tokens, tokens_per_block)), tokens_per_block * warp_size, 0, stream.get(), call);
}

template <class T, int n>
void launch_weight_parts(const Stream& stream, const ScalarHeadCall<T>& call, std::int64_t blocks) {
  CHECK(blocks <= 65535);  // 16 million tokens
  const dim3 grid(static_cast<unsigned>(pieces(call.width, packs_of_sum * n)), static_cast<unsigned>(blocks));
  launch(scalar_weight_parts<T, n>, grid, dim3(packs_of_sum, lanes_of_sum), 0, stream.get(), call);
}

}  // namespace

void CudaOps::scalar_head(Tensor values, Tensor h, Tensor weight) {
  with_number_type(h.type(), [&]<class T>(TypeTag<T>) {
    ScalarHeadCall<T> call = call_of<T>(h, weight, values.size());
    call.values = static_cast<float*>(expect_size(values, "values", DType::f32, values.size()));
    launch_tokens<T>(vectors_of(call) ? scalar_values<T, per_16_bytes<T>> : scalar_values<T, 1>, *stream_, call);
  });
}

void CudaOps::scalar_head_backward(Tensor dh, Into dh_into, Tensor dweight, Into into, Tensor dvalues, Tensor h,
                                   Tensor weight, Tensor loss_scale) {
  with_number_type(h.type(), [&]<class T>(TypeTag<T>) {
    ScalarHeadCall<T> call = call_of<T>(h, weight, dvalues.size());
    call.dvalues = static_cast<const float*>(expect_size(dvalues, "dvalues", DType::f32, call.tokens));
    if (!loss_scale.empty())
      call.loss_scale = static_cast<const float*>(expect_size(loss_scale, "loss_scale", DType::f32, 1));
    if (!dh.empty()) {
      call.dh = static_cast<T*>(expect_rows(dh, "dh", h.type(), call.tokens, call.width));
      call.add = dh_into == Into::add;
      launch_tokens<T>(vectors_of(call) ? scalar_gradient<T, per_16_bytes<T>> : scalar_gradient<T, 1>, *stream_, call);
    }
    if (!dweight.empty()) {
      auto* const sums = static_cast<float*>(expect_size(dweight, "dweight", DType::f32, call.width));
      const std::int64_t blocks = pieces(call.tokens, tokens_of_sum);
      call.parts = scratch_.get<float>(checked_product(blocks, call.width));
      if (vectors_of(call)) {
        launch_weight_parts<T, per_16_bytes<T>>(*stream_, call, blocks);
      } else {
        launch_weight_parts<T, 1>(*stream_, call, blocks);
      }
      add_parts(*stream_, sums, into, call.parts, blocks, call.width);
    }
  });
}

}  // namespace nll::cuda
