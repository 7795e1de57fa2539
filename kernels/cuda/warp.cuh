// Sums and maxima over a warp or a block, in a fixed order: every thread gets the same bits.
#pragma once
#include <cuda_runtime.h>

namespace nll::cuda {

inline constexpr int warp_size = 32;
inline constexpr unsigned all_lanes = 0xffffffffu;

struct Sum {
  __device__ static float neutral() { return 0.0f; }
  __device__ float operator()(float a, float b) const { return a + b; }
};
struct Maximum {
  __device__ static float neutral() { return -INFINITY; }
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

// Butterfly: lanes combine in the same tree, so all hold the same bits (the operations commute).
template <class Operation>
__device__ inline float warp_reduce(float x, Operation operation) {
  for (int distance = warp_size / 2; distance > 0; distance /= 2) {
    x = operation(x, __shfl_xor_sync(all_lanes, x, distance));
  }
  return x;
}
__device__ inline float warp_sum(float x) { return warp_reduce(x, Sum{}); }
__device__ inline float warp_maximum(float x) { return warp_reduce(x, Maximum{}); }

// Over all threads of a block of whole warps; `shared` holds one float a warp (32 at most). Ends with everybody past a
// barrier, so that `shared` may be used again after the caller's next one.
template <class Operation>
__device__ inline float block_reduce(float x, float* shared, Operation operation) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = static_cast<int>(threadIdx.x) / warp_size;
  const int warps = static_cast<int>(blockDim.x) / warp_size;
  x = warp_reduce(x, operation);
  if (lane == 0) shared[warp] = x;
  __syncthreads();
  x = lane < warps ? shared[lane] : Operation::neutral();
  x = warp_reduce(x, operation);
  __syncthreads();
  return x;
}

}  // namespace nll::cuda
