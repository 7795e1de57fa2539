// Token and position embedding, backward.    B batch, T time, N = B T tokens, C width, V rows of dwte; dx in R, rest
// FP32
//   dwpe[t] (+)= sum_b dropout'(dx[b,t]);  dwte[v] += sum over the i with token_i = v of dropout'(dx[i])
// A token outside [0, V) adds nothing to dwte.
// Bytes    dwpe: sizeof R N C read, 4 T C written. dwte: sizeof R N C and 16 N read, 8 C for each distinct token, 8 C
//          more for each tile that a run crosses into; and the sort (sort.cu)
// Sums     FP32. dwpe: b after b. dwte: positions are sorted by token, and the sorted list is cut into tiles of 32. The
//          part of a run of equal tokens in one tile is added in order, then a run's parts in order: an order that
//          depends on the tokens only
// Launch   dwpe: a thread for neighbouring columns of a t. dwte: a warp for 32 threads' columns of a tile; then one for
//          the same columns of each run that crosses tiles
// H100     share of the roof: not yet measured on a GPU
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/dropout.cuh"
#include "kernels/cuda/grid.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/row.cuh"
#include "kernels/cuda/sort.cuh"

namespace nll::cuda {
namespace {

constexpr int threads = 256, warps = threads / warp_size;
constexpr int tile = warp_size;  // so that each lane holds one token of it
constexpr int loads = 8;         // rows on their way to a thread at once

// ---- position ----

template <class R>
struct PositionGradientCall {
  float* dwpe;
  bool add;
  const R* dx;
  std::int64_t batch, time, context, width;
  DropoutMask dropout;
};

template <class R, int n>
__global__ void __launch_bounds__(threads, 3) add_over_batch(const PositionGradientCall<R> call) {
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x;
  const std::int64_t packs = call.width / n, t = thread / packs, column = thread % packs * n;
  if (t >= call.context) return;
  float sum[n] = {};
  if (t < call.time) {
    const DropoutMask dropout = at_this_step(call.dropout);
    for (std::int64_t b = 0; b < call.batch; b += loads) {
      Stored<R, n> incoming[loads];
#pragma unroll
      for (int i = 0; i < loads; ++i) {
        if (b + i < call.batch) {
          incoming[i] = load_stored<n>(call.dx + ((b + i) * call.time + t) * call.width + column);
        }
      }
#pragma unroll
      for (int i = 0; i < loads; ++i) {
        if (b + i >= call.batch) break;
        float dx[n];
        unpack(dx, incoming[i]);
        apply_dropout(dx, dropout, (b + i) * call.time + t, column, call.width);
#pragma unroll
        for (int k = 0; k < n; ++k) sum[k] += dx[k];
      }
    }
  }
  float* const to = call.dwpe + t * call.width + column;
  if (call.add) {
    float before[n];
    load_floats(before, to);
#pragma unroll
    for (int k = 0; k < n; ++k) sum[k] += before[k];
  }
  store_floats(to, sum);
}

// ---- token ----

// A run of equal tokens in the sorted list that lies in one tile goes straight to dwte. Of one that crosses tiles each
// tile keeps a part: as `leading` where the run came in from the tile before (whether or not it goes on), as `trailing`
// where it begins in this tile.
enum Part { leading, trailing };

template <class R>
struct TokenGradientCall {
  float* dwte;
  float* parts;  // (tiles, 2, C)
  const R* dx;
  SortedTokens sorted;
  std::int64_t n, tiles, width;
  std::int32_t vocabulary;
  DropoutMask dropout;

  __device__ float* part(std::int64_t of_tile, Part which) const { return parts + (2 * of_tile + which) * width; }
};

template <int n>
__device__ void add_to(float* to, const float (&sum)[n]) {
  float before[n];
  load_floats(before, to);
#pragma unroll
  for (int k = 0; k < n; ++k) before[k] += sum[k];
  store_floats(to, before);
}

template <class R, int n>
__global__ void __launch_bounds__(threads, 2) add_within_tiles(const TokenGradientCall<R> call) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  const std::int64_t this_tile = static_cast<std::int64_t>(blockIdx.x) * warps + threadIdx.x / warp_size;
  if (this_tile >= call.tiles) return;
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.y) * warp_size + lane) * n;
  const bool has_columns = column < call.width;
  const std::int64_t first = this_tile * tile;
  const int count = static_cast<int>(call.n - first < tile ? call.n - first : tile);
  // No token is -1.
  const std::int32_t token = lane < count ? call.sorted.tokens[first + lane] : -1;
  const std::int32_t position = lane < count ? call.sorted.positions[first + lane] : 0;
  const std::int32_t token_before = first > 0 ? call.sorted.tokens[first - 1] : -1;
  const std::int32_t token_after = first + count < call.n ? call.sorted.tokens[first + count] : -1;
  const DropoutMask dropout = at_this_step(call.dropout);

  bool came_in = __shfl_sync(all_lanes, token, 0) == token_before;
  float sum[n] = {};
  for (int begin = 0; begin < count; begin += loads) {
    Stored<R, n> incoming[loads];
    std::int32_t row[loads];
#pragma unroll
    for (int i = 0; i < loads; ++i) {
      row[i] = __shfl_sync(all_lanes, position, begin + i);
      if (begin + i < count && has_columns) incoming[i] = load_stored<n>(call.dx + row[i] * call.width + column);
    }
#pragma unroll
    for (int i = 0; i < loads; ++i) {
      const std::int32_t here = __shfl_sync(all_lanes, token, begin + i);
      const std::int32_t following = __shfl_sync(all_lanes, token, (begin + i + 1) % warp_size);
      if (begin + i >= count) break;
      if (has_columns) {
        float dx[n];
        unpack(dx, incoming[i]);
        apply_dropout(dx, dropout, row[i], column, call.width);
#pragma unroll
        for (int k = 0; k < n; ++k) sum[k] += dx[k];
      }
      const std::int32_t next = begin + i + 1 < count ? following : token_after;
      if (here == next) continue;
      if (has_columns && came_in) {
        store_floats(call.part(this_tile, leading) + column, sum);
      } else if (has_columns && here < call.vocabulary) {
        add_to(call.dwte + here * call.width + column, sum);
      }
      came_in = false;
#pragma unroll
      for (int k = 0; k < n; ++k) sum[k] = 0;
    }
  }
  const bool goes_on = __shfl_sync(all_lanes, token, count - 1) == token_after;
  if (goes_on && has_columns) store_floats(call.part(this_tile, came_in ? leading : trailing) + column, sum);
}

// A warp for each tile in which a run begins that goes on behind it.
template <class R, int n>
__global__ void __launch_bounds__(threads, 2) add_across_tiles(const TokenGradientCall<R> call) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  const std::int64_t this_tile = static_cast<std::int64_t>(blockIdx.x) * warps + threadIdx.x / warp_size;
  if (this_tile + 1 >= call.tiles) return;
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.y) * warp_size + lane) * n;
  const std::int32_t* const tokens = call.sorted.tokens;
  const std::int64_t first = this_tile * tile;
  const std::int32_t token = tokens[first + tile - 1];
  if (tokens[first + tile] != token || token >= call.vocabulary) return;
  if (first > 0 && tokens[first - 1] == token) return;

  const bool has_columns = column < call.width;
  float sum[n] = {};
  if (has_columns) load_floats(sum, call.part(this_tile, trailing) + column);
  // The tiles behind that begin with this token, 32 at a glance.
  int found = warp_size;
  for (std::int64_t next = this_tile + 1; found == warp_size; next += warp_size) {
    const bool same = next + lane < call.tiles && tokens[(next + lane) * tile] == token;
    found = __popc(__ballot_sync(all_lanes, same));
    for (int begin = 0; begin < found && has_columns; begin += loads) {
      float part[loads][n];
#pragma unroll
      for (int i = 0; i < loads; ++i) {
        if (begin + i < found) load_floats(part[i], call.part(next + begin + i, leading) + column);
      }
#pragma unroll
      for (int i = 0; i < loads; ++i) {
        if (begin + i >= found) break;
#pragma unroll
        for (int k = 0; k < n; ++k) sum[k] += part[i][k];
      }
    }
  }
  if (has_columns) add_to(call.dwte + token * call.width + column, sum);
}

template <class R, int n>
void run(const PositionGradientCall<R>& of_position, const TokenGradientCall<R>& of_token, cudaStream_t stream) {
  const std::int64_t packs = of_token.width / n;
  launch(add_over_batch<R, n>, blocks_of(pieces(of_position.context * packs, threads)), threads, 0, stream,
         of_position);
  const dim3 grid(blocks_of(pieces(of_token.tiles, warps)).x, static_cast<unsigned>(pieces(packs, warp_size)));
  launch(add_within_tiles<R, n>, grid, threads, 0, stream, of_token);
  launch(add_across_tiles<R, n>, grid, threads, 0, stream, of_token);
}

}  // namespace

void CudaOps::embedding_backward(Tensor dwte, Tensor dwpe, Into wpe_into, Tensor dx, Tensor tokens,
                                 const Dropout& dropout) {
  CHECK(tokens.rank() == 2);
  CHECK(dwte.rank() == 2);
  CHECK(dwpe.rank() == 2);
  const std::int64_t n = tokens.size(), width = dwte.dim(1), vocabulary = dwte.dim(0), context = dwpe.dim(0);
  CHECK(tokens.dim(1) <= context);
  // Part sums first, so that they are aligned.
  const std::int64_t tiles = pieces(n, tile), part_bytes = tiles * 2 * width * static_cast<std::int64_t>(sizeof(float));
  auto* const memory = static_cast<unsigned char*>(scratch_.get(part_bytes + sort_bytes(n)));
  const SortedTokens sorted =
      sort_tokens(memory + part_bytes, tokens.as<std::int32_t>(), n, vocabulary, stream_->get());
  with_number_type(dx.type(), [&](auto type) {
    using R = typename decltype(type)::type;
    PositionGradientCall<R> of_position{};
    of_position.dwpe = static_cast<float*>(expect_rows(dwpe, "dwpe", DType::f32, context, width));
    of_position.add = wpe_into == Into::add;
    of_position.dx = static_cast<const R*>(expect_rows(dx, "dx", dx.type(), n, width));
    of_position.batch = tokens.dim(0);
    of_position.time = tokens.dim(1);
    of_position.context = context;
    of_position.width = width;
    of_position.dropout = dropout_mask(dropout);
    TokenGradientCall<R> of_token{};
    of_token.dwte = dwte.as<float>();
    of_token.parts = reinterpret_cast<float*>(memory);
    of_token.dx = of_position.dx;
    of_token.sorted = sorted;
    of_token.n = n;
    of_token.tiles = tiles;
    of_token.width = width;
    of_token.vocabulary = static_cast<std::int32_t>(vocabulary);
    of_token.dropout = of_position.dropout;
    constexpr int pack = neighbours<R>;
    const bool vectors = width % pack == 0 && aligned_to(of_token.dx, 16) && aligned_to(of_token.dwte, 16) &&
                         aligned_to(of_position.dwpe, 16);
    if (vectors) {
      run<R, pack>(of_position, of_token, stream_->get());
    } else {
      run<R, 1>(of_position, of_token, stream_->get());
    }
  });
}

}  // namespace nll::cuda
