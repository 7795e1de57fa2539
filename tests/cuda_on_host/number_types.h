// BF16 and FP16 as CUDA names them: 16 bits, converted with rounding to nearest even. They do no arithmetic: kernels
// compute in FP32. What a GPU makes of a NaN, this makes of it: 0x7fff.
#pragma once
#include <bit>
#include <cstdint>

#include "tests/cuda_on_host/vector_types.h"

namespace nll::cuda_on_host {

constexpr std::uint16_t bfloat16_bits(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
constexpr float bfloat16_value(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

constexpr std::uint16_t half_bits(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
  std::uint32_t rounded = 0;
  if (magnitude > 0x7f800000u) return 0x7fff;
  if (magnitude >= 0x477ff000u) {  // 65520 and more rounds to infinity
    rounded = 0x7c00u;
  } else if (magnitude < 0x38800000u) {
    // Below 2^-14 the result is a multiple of 2^-24, which is the step of FP32 at 0.5: the addition rounds.
    rounded = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - std::bit_cast<std::uint32_t>(0.5f);
  } else {
    rounded = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  }
  return static_cast<std::uint16_t>(sign | rounded);
}
constexpr float half_value(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16, magnitude = bits & 0x7fffu;
  if (magnitude >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13));
  if (magnitude >= 0x400u) return std::bit_cast<float>(sign | ((magnitude << 13) + (112u << 23)));
  const float value = static_cast<float>(magnitude) * 0x1p-24f;
  return sign != 0 ? -value : value;
}

}  // namespace nll::cuda_on_host

struct __nv_bfloat16 {
  std::uint16_t bits;
  __nv_bfloat16() = default;
  constexpr explicit __nv_bfloat16(float x) : bits(nll::cuda_on_host::bfloat16_bits(x)) {}
  constexpr explicit operator float() const { return nll::cuda_on_host::bfloat16_value(bits); }
};
struct __half {
  std::uint16_t bits;
  __half() = default;
  constexpr explicit __half(float x) : bits(nll::cuda_on_host::half_bits(x)) {}
  constexpr explicit operator float() const { return nll::cuda_on_host::half_value(bits); }
};
struct __nv_bfloat162 {
  __nv_bfloat16 x, y;
} __attribute__((aligned(4)));
struct __half2 {
  __half x, y;
} __attribute__((aligned(4)));
