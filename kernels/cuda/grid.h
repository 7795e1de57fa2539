// Sizes of launches.
#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "kernels/check.h"

namespace nll::cuda {

// How many pieces of `size` hold `count`.
inline std::int64_t pieces(std::int64_t count, std::int64_t size) { return (count + size - 1) / size; }

// A grid of `count` blocks.
inline dim3 blocks_of(std::int64_t count) {
  CHECK(count <= INT32_MAX);
  return dim3(static_cast<unsigned>(count));
}

// Whole warps for so many threads, at most `most`.
inline dim3 threads_for(std::int64_t count, std::int64_t most) {
  return dim3(static_cast<unsigned>(std::min(std::max<std::int64_t>(1, pieces(count, 32)) * 32, most)));
}

}  // namespace nll::cuda
