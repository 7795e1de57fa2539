// Token and position embedding, forward.                   B batch, T time, N = B T tokens, C width, V rows of wte
//   x[i] = dropout(wte[token_i] + wpe[position + i % T]);  a token outside [0, V) gives a row of NaN
// Bytes    N C (sizeof R + 2 sizeof T) + 4 N, less what the caches keep of wte and wpe
// Sums     one addition, FP32
// Launch   a warp a token, 8 tokens a block; 16-byte accesses, several of them on their way, or one by one where C or
//          an address keeps them away
// H100     share of the roof: not yet measured on a GPU
#include <cmath>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/dropout.cuh"
#include "kernels/cuda/grid.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/row.cuh"

namespace nll::cuda {
namespace {

constexpr int tokens_per_block = 8;

template <class R, class T>
struct EmbeddingCall {
  R* x;
  const std::int32_t* tokens;
  const T *wte, *wpe;
  std::int64_t rows, time, width, vocabulary, position;
  DropoutMask dropout;
};

template <class R, class T, int n>
__global__ void __launch_bounds__(tokens_per_block* warp_size, 3) embed_tokens(const EmbeddingCall<R, T> call) {
  constexpr int packs = 4, stride = warp_size * n;  // of a lane, before it waits for the first
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * tokens_per_block + threadIdx.x / warp_size;
  if (row >= call.rows) return;
  const std::int64_t token = call.tokens[row];
  const bool known = token >= 0 && token < call.vocabulary;
  const T* const of_token = call.wte + (known ? token : 0) * call.width;
  const T* const of_position = call.wpe + (call.position + row % call.time) * call.width;
  const DropoutMask dropout = at_this_step(call.dropout);
  for (std::int64_t column = threadIdx.x % warp_size * n; column < call.width; column += packs * stride) {
    Stored<T, n> from_token[packs], from_position[packs];
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      if (column + p * stride >= call.width) continue;
      from_token[p] = load_stored<n>(of_token + column + p * stride);
      from_position[p] = load_stored<n>(of_position + column + p * stride);
    }
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      if (column + p * stride >= call.width) continue;
      float x[n];
#pragma unroll
      for (int k = 0; k < n; ++k) {
        x[k] = known ? from_token[p][k] + from_position[p][k] : NAN;
      }
      apply_dropout(x, dropout, row, column + p * stride, call.width);
      store_floats(call.x + row * call.width + column + p * stride, x);
    }
  }
}

}  // namespace

void CudaOps::embedding(Tensor x, Tensor tokens, Tensor wte, Tensor wpe, std::int64_t position,
                        const Dropout& dropout) {
  CHECK(tokens.rank() == 2);
  CHECK(wte.rank() == 2);
  CHECK(wpe.rank() == 2);
  const std::int64_t rows = tokens.size(), time = tokens.dim(1), width = wte.dim(1);
  CHECK(wte.dim(0) >= 1);
  CHECK(position >= 0);
  CHECK(position + time <= wpe.dim(0));
  with_residual_types(x.type(), wte.type(), [&](auto residual_type, auto compute_type) {
    using R = typename decltype(residual_type)::type;
    using T = typename decltype(compute_type)::type;
    EmbeddingCall<R, T> call{};
    call.x = static_cast<R*>(expect_rows(x, "x", x.type(), rows, width));
    call.tokens = tokens.as<std::int32_t>();
    call.wte = static_cast<const T*>(wte.data());
    call.wpe = static_cast<const T*>(expect_rows(wpe, "wpe", wte.type(), wpe.dim(0), width));
    call.rows = rows;
    call.time = time;
    call.width = width;
    call.vocabulary = wte.dim(0);
    call.position = position;
    call.dropout = dropout_mask(dropout);
    constexpr int n = neighbours<R, T>;
    const bool vectors = width % n == 0 && aligned_to(call.x, n * sizeof(R)) && aligned_to(call.wte, n * sizeof(T)) &&
                         aligned_to(call.wpe, n * sizeof(T));
    launch(vectors ? embed_tokens<R, T, n> : embed_tokens<R, T, 1>, blocks_of(pieces(rows, tokens_per_block)),
           tokens_per_block * warp_size, 0, stream_->get(), call);
  });
}

}  // namespace nll::cuda
