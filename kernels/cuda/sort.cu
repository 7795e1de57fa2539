// Least-significant-digit radix sort of (token, position), stable.                               n keys below 2^31
// Bytes    first pass 8 n read, 8 n written; each further pass 12 n and 8 n. Passes: digits of at most 8 bits for the
//          vocabulary's bits, so 2 for V = 50257
// Order    of a tile of keys: warps, rounds of a warp, lanes; so equal keys stay in order. Integers only
// Launch   a pass: one block a tile of 2048 keys counts its digits, one block a digit adds up the tiles, one block a
//          tile moves its keys
// H100     share of the roof: not yet measured on a GPU
#include "kernels/cuda/sort.cuh"

#include <algorithm>
#include <bit>

#include "kernels/cuda/grid.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/warp.cuh"

namespace nll::cuda {
namespace {

constexpr int threads = 256, warps = threads / warp_size, rounds = 8, tile = threads * rounds;
constexpr int most_bits = 8, most_bins = 1 << most_bits;
static_assert(most_bins <= threads, "a thread a bin");

struct Pass {
  const std::int32_t* keys;
  const std::int32_t* positions;  // null: those of the keys
  std::int32_t* keys_to;
  std::int32_t* positions_to;
  std::int32_t* counts;  // (bins, tiles): how many, then how many before
  std::int32_t* totals;  // (bins)
  std::int64_t n, tiles;
  std::int32_t vocabulary;
  int shift, bits;

  __device__ std::int32_t key(std::int64_t i) const {
    const std::int32_t token = keys[i];
    return token >= 0 && token < vocabulary ? token : vocabulary;
  }
  __device__ int bins() const { return 1 << bits; }
  __device__ int digit(std::int32_t key) const { return (key >> shift) & (bins() - 1); }
};

// Sum of x over the threads before this one, and over all in `total`. `shared` holds one number a warp.
__device__ int block_sum_before(int x, int* shared, int& total) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
  int sum = x;
  for (int distance = 1; distance < warp_size; distance *= 2) {
    const int before = __shfl_up_sync(all_lanes, sum, static_cast<unsigned>(distance));
    if (lane >= distance) sum += before;
  }
  if (lane == warp_size - 1) shared[warp] = sum;
  __syncthreads();
  int before = sum - x;
  total = 0;
  for (int other = 0; other < warps; ++other) {
    if (other < warp) before += shared[other];
    total += shared[other];
  }
  __syncthreads();
  return before;
}

__global__ void __launch_bounds__(threads) count_digits(const Pass pass) {
  __shared__ int counts[most_bins];
  const int thread = static_cast<int>(threadIdx.x);
  counts[thread] = 0;
  __syncthreads();
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * tile + thread;
#pragma unroll
  for (int round = 0; round < rounds; ++round) {
    const std::int64_t i = first + round * threads;
    if (i < pass.n) atomicAdd(&counts[pass.digit(pass.key(i))], 1);
  }
  __syncthreads();
  if (thread < pass.bins()) pass.counts[thread * pass.tiles + blockIdx.x] = counts[thread];
}

__global__ void __launch_bounds__(threads) add_up_tiles(const Pass pass) {
  __shared__ int of_warps[warps];
  std::int32_t* const counts = pass.counts + blockIdx.x * pass.tiles;
  int before_these = 0;
  for (std::int64_t begin = 0; begin < pass.tiles; begin += threads) {
    const std::int64_t i = begin + threadIdx.x;
    int total = 0;
    const int before = block_sum_before(i < pass.tiles ? counts[i] : 0, of_warps, total);
    if (i < pass.tiles) counts[i] = before_these + before;
    before_these += total;
  }
  if (threadIdx.x == 0) pass.totals[blockIdx.x] = before_these;
}

__global__ void __launch_bounds__(threads) move_keys(const Pass pass) {
  __shared__ int of_warps[warps];
  __shared__ int place[warps][most_bins];  // of a warp's next key with that digit: within the warp, then among all
  const int thread = static_cast<int>(threadIdx.x), warp = thread / warp_size, lane = thread % warp_size;
  int total = 0;
  int place_of_tile = block_sum_before(thread < pass.bins() ? pass.totals[thread] : 0, of_warps, total);
  if (thread < pass.bins()) place_of_tile += pass.counts[thread * pass.tiles + blockIdx.x];
  for (int other = 0; other < warps; ++other) place[other][thread] = 0;
  __syncthreads();

  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * tile + warp * (rounds * warp_size) + lane;
  std::int32_t key[rounds];
  int rank[rounds];
#pragma unroll
  for (int round = 0; round < rounds; ++round) {
    const std::int64_t i = first + round * warp_size;
    key[round] = i < pass.n ? pass.key(i) : 0;
  }
#pragma unroll
  for (int round = 0; round < rounds; ++round) {
    const bool there = first + round * warp_size < pass.n;
    const int digit = pass.digit(key[round]);
    unsigned same = __ballot_sync(all_lanes, there);  // lanes that hold the same digit
    for (int bit = 0; bit < pass.bits; ++bit) {
      const bool set = ((digit >> bit) & 1) != 0;
      const unsigned vote = __ballot_sync(all_lanes, set);
      same &= set ? vote : ~vote;
    }
    const int earlier = __popc(same & ((1u << lane) - 1));
    rank[round] = place[warp][digit] + earlier;
    __syncwarp();
    if (there && earlier == 0) place[warp][digit] += __popc(same);
    __syncwarp();
  }
  __syncthreads();
  for (int other = 0; other < warps; ++other) {
    const int count = place[other][thread];
    place[other][thread] = place_of_tile;
    place_of_tile += count;
  }
  __syncthreads();
#pragma unroll
  for (int round = 0; round < rounds; ++round) {
    const std::int64_t i = first + round * warp_size;
    if (i >= pass.n) continue;
    const int to = place[warp][pass.digit(key[round])] + rank[round];
    pass.keys_to[to] = key[round];
    pass.positions_to[to] = pass.positions == nullptr ? static_cast<std::int32_t>(i) : pass.positions[i];
  }
}

}  // namespace

std::int64_t sort_bytes(std::int64_t n) {
  return (4 * n + most_bins * pieces(n, tile) + most_bins) * static_cast<std::int64_t>(sizeof(std::int32_t));
}

SortedTokens sort_tokens(void* scratch, const std::int32_t* tokens, std::int64_t n, std::int64_t vocabulary,
                         cudaStream_t stream) {
  CHECK(n <= INT32_MAX);
  CHECK(vocabulary >= 1);
  CHECK(vocabulary < INT32_MAX);
  Pass pass{};
  pass.n = n;
  pass.tiles = pieces(n, tile);
  pass.vocabulary = static_cast<std::int32_t>(vocabulary);
  std::int32_t* const memory = static_cast<std::int32_t*>(scratch);
  std::int32_t *from = memory, *to = memory + 2 * n;  // keys, then positions
  pass.counts = memory + 4 * n;
  pass.totals = pass.counts + most_bins * pass.tiles;
  const int bits = static_cast<int>(std::bit_width(static_cast<std::uint32_t>(vocabulary)));
  const int passes = (bits + most_bits - 1) / most_bits;
  pass.bits = (bits + passes - 1) / passes;
  for (int i = 0; i < passes; ++i) {
    pass.shift = i * pass.bits;
    pass.keys = i == 0 ? tokens : from;
    pass.positions = i == 0 ? nullptr : from + n;
    pass.keys_to = to;
    pass.positions_to = to + n;
    launch(count_digits, blocks_of(pass.tiles), threads, 0, stream, pass);
    launch(add_up_tiles, n == 0 ? 0 : 1 << pass.bits, threads, 0, stream, pass);
    launch(move_keys, blocks_of(pass.tiles), threads, 0, stream, pass);
    std::swap(from, to);
  }
  return {from, from + n};
}

}  // namespace nll::cuda
