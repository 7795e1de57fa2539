// AdamW (Loshchilov and Hutter, 2019) over a span of n elements of the arena.          w FP32, m, v FP32 or both BF16
//   g = gradient_factor gradient;  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
//   w = (1 - learning_rate weight_decay) w - rate m / (sqrt(v) root + epsilon);  rounded = w as T holds it
// BF16 moments are rounded stochastically: 16 random bits are added below the bits that are kept, of words 0 (m) and 1
// (v) of philox(seed, number of the update, element). w is computed from m and v before they are rounded.
// Bytes    28 n (20 n with BF16 moments), sizeof T n more for `rounded`
// Sums     none. The bits of an element depend on its place in the arena, not on how the arena is cut into spans
// Launch   a thread for 4 neighbours in 16-byte accesses, and one for each element before and behind the aligned part
// H100     share of the roof: not yet measured on a GPU
#include <algorithm>
#include <cmath>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/grid.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/row.cuh"
#include "kernels/philox.h"

namespace nll::cuda {
namespace {

constexpr int threads = 256;
constexpr int pack = 4;

template <class M, class T>
struct AdamWCall {
  float* w;
  T* rounded;  // null: not wanted
  M *m, *v;
  const float* gradient;
  const UpdateState* state;
  // Elements [begin, begin + pack * packs) are taken by packs, the others one by one.
  std::int64_t n, begin, packs, first;
  float beta1, beta2, epsilon, weight_decay;
  std::uint64_t seed;
};

// A number that M holds exactly. `bits`: the low half of them counts.
template <class M>
__device__ float round_stochastically(float x, std::uint32_t bits) {
  if (sizeof(M) == sizeof(float) || !std::isfinite(x)) return x;
  return __uint_as_float((__float_as_uint(x) + (bits & 0xffffu)) & 0xffff0000u);
}

template <int n, class M, class T>
__device__ void update_elements(const AdamWCall<M, T>& call, const UpdateState& state, std::int64_t i) {
  float w[n], m[n], v[n], gradient[n];
  load_floats(w, call.w + i);
  load_floats(m, call.m + i);
  load_floats(v, call.v + i);
  load_floats(gradient, call.gradient + i);
  const float decay =
      static_cast<float>(1 - static_cast<double>(state.learning_rate) * static_cast<double>(call.weight_decay));
#pragma unroll
  for (int k = 0; k < n; ++k) {
    const float g = gradient[k] * state.gradient_factor;
    // Said where products and sums are rounded together: the same bits for moments of any type.
    m[k] = fmaf(call.beta1, m[k], (1.0f - call.beta1) * g);
    v[k] = fmaf(call.beta2, v[k], (1.0f - call.beta2) * (g * g));
    w[k] = fmaf(decay, w[k], -(state.rate * m[k] / fmaf(sqrtf(v[k]), state.root, call.epsilon)));
    PhiloxBlock random{};
    if constexpr (sizeof(M) < sizeof(float)) {
      random =
          philox(call.seed, static_cast<std::uint64_t>(state.updates), static_cast<std::uint64_t>(call.first + i + k));
    }
    m[k] = round_stochastically<M>(m[k], random.word[0]);
    v[k] = round_stochastically<M>(v[k], random.word[1]);
  }
  store_floats(call.w + i, w);
  store_floats(call.m + i, m);
  store_floats(call.v + i, v);
  if (call.rounded != nullptr) store_floats(call.rounded + i, w);
}

template <class M, class T>
__global__ void __launch_bounds__(threads) update_span(const AdamWCall<M, T> call) {
  const UpdateState state = *call.state;
  if (!std::isfinite(state.norm)) return;
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (thread < call.packs) {
    update_elements<pack>(call, state, call.begin + thread * pack);
    return;
  }
  // The elements before the packs, then those behind them.
  const std::int64_t other = thread - call.packs;
  const std::int64_t i = other < call.begin ? other : other + call.packs * pack;
  if (i < call.n) update_elements<1>(call, state, i);
}

template <class M, class T>
void run(AdamWCall<M, T> call, cudaStream_t stream) {
  // Up to three elements, then all addresses are aligned; or never.
  const auto ahead = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(call.w) % 16 / sizeof(float));
  call.begin = std::min(call.n, (pack - ahead) % pack);
  const bool vectors = aligned_to(call.w + call.begin, 16) && aligned_to(call.gradient + call.begin, 16) &&
                       aligned_to(call.m + call.begin, pack * sizeof(M)) &&
                       aligned_to(call.v + call.begin, pack * sizeof(M)) &&
                       (call.rounded == nullptr || aligned_to(call.rounded + call.begin, pack * sizeof(T)));
  call.packs = vectors ? (call.n - call.begin) / pack : 0;
  launch(update_span<M, T>, blocks_of(pieces(call.n - (pack - 1) * call.packs, threads)), threads, 0, stream, call);
}

}  // namespace

void CudaOps::adamw(Tensor w, Tensor rounded, Tensor m, Tensor v, Tensor gradients, float weight_decay,
                    std::int64_t first, Tensor state, const AdamW& settings) {
  const std::int64_t n = w.size();
  CHECK(state.bytes() == static_cast<std::int64_t>(sizeof(UpdateState)));
  CHECK((m.type() == DType::f32 || m.type() == DType::bf16));
  with_number_type(rounded.empty() ? DType::f32 : rounded.type(), [&](auto rounded_type) {
    const auto update = [&](auto moment_type) {
      using M = typename decltype(moment_type)::type;
      using T = typename decltype(rounded_type)::type;
      AdamWCall<M, T> call{};
      call.w = w.as<float>();
      if (!rounded.empty()) call.rounded = static_cast<T*>(expect_size(rounded, "rounded", rounded.type(), n));
      call.m = static_cast<M*>(expect_size(m, "m", m.type(), n));
      call.v = static_cast<M*>(expect_size(v, "v", m.type(), n));
      call.gradient = static_cast<const float*>(expect_size(gradients, "gradients", DType::f32, n));
      call.state = static_cast<const UpdateState*>(state.data());
      call.n = n;
      call.first = first;
      call.beta1 = settings.beta1;
      call.beta2 = settings.beta2;
      call.epsilon = settings.epsilon;
      call.weight_decay = weight_decay;
      call.seed = settings.seed;
      run(call, stream_->get());
    };
    if (m.type() == DType::bf16) {
      update(TypeTag<__nv_bfloat16>{});
    } else {
      update(TypeTag<float>{});
    }
  });
}

}  // namespace nll::cuda
