// Dropout on the device: the factors that kernels/ops.h defines, made again wherever they are needed. All threads of a
// kernel read the offset of the step by themselves; it is one cache line.
#pragma once
#include <cstdint>

#include "kernels/cuda/number.cuh"
#include "kernels/ops.h"
#include "kernels/philox.h"

namespace nll::cuda {

// What a kernel is given of a Dropout.
struct DropoutMask {
  float rate = 0, scale = 1;
  std::uint64_t seed = 0, stream = 0, first_row = 0;
  const DropoutOffset* offset = nullptr;  // in device memory, or null
};

inline DropoutMask dropout_mask(const Dropout& dropout) {
  CHECK(dropout.rate >= 0.0f);
  CHECK(dropout.rate < 1.0f);
  DropoutMask mask;
  mask.rate = dropout.rate;
  mask.scale = 1.0f / (1.0f - dropout.rate);
  mask.seed = dropout.seed;
  mask.stream = dropout.stream;
  mask.first_row = static_cast<std::uint64_t>(dropout.first_row);
  if (!dropout.offset.empty()) {
    CHECK(dropout.offset.bytes() == static_cast<std::int64_t>(sizeof(DropoutOffset)));
    mask.offset = static_cast<const DropoutOffset*>(dropout.offset.data());
  }
  return mask;
}

// With the offset added that lies in memory now.
__device__ inline DropoutMask at_this_step(DropoutMask mask) {
  if (mask.rate == 0 || mask.offset == nullptr) return mask;
  mask.stream += mask.offset->stream;
  mask.first_row += static_cast<std::uint64_t>(mask.offset->first_row);
  mask.offset = nullptr;
  return mask;
}

__device__ inline float dropout_factor(const DropoutMask& mask, std::uint32_t word) {
  return unit_float(word) >= mask.rate ? mask.scale : 0.0f;
}

// x[k] *= factor of element (row, column + k) of a tensor with rows of `width`. n is 1, or n, column and width are
// multiples of 4. Nothing happens where the rate is 0.
template <int n>
__device__ inline void apply_dropout(float (&x)[n], const DropoutMask& mask, std::int64_t row, std::int64_t column,
                                     std::int64_t width) {
  static_assert(n == 1 || n % 4 == 0);
  if (mask.rate == 0) return;
  const std::uint64_t word = (mask.first_row + static_cast<std::uint64_t>(row)) * static_cast<std::uint64_t>(width) +
                             static_cast<std::uint64_t>(column);
  if constexpr (n == 1) {
    const PhiloxBlock block = philox(mask.seed, mask.stream, word / 4);
    const std::uint32_t low = word % 2 == 0 ? block.word[0] : block.word[1];
    const std::uint32_t high = word % 2 == 0 ? block.word[2] : block.word[3];
    x[0] *= dropout_factor(mask, word % 4 < 2 ? low : high);
  } else {
#pragma unroll
    for (int k = 0; k < n; k += 4) {
      const PhiloxBlock block = philox(mask.seed, mask.stream, word / 4 + static_cast<std::uint64_t>(k / 4));
#pragma unroll
      for (int j = 0; j < 4; ++j) x[k + j] *= dropout_factor(mask, block.word[j]);
    }
  }
}

}  // namespace nll::cuda
