// Copies of tensors in host memory, FP32, for devices whose memory the host cannot read or whose type is another.
#pragma once
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "kernels/device.h"

namespace nll {

inline Buffer host_buffer(std::int64_t bytes) {
  void* data = std::calloc(1, static_cast<std::size_t>(bytes > 0 ? bytes : 1));
  if (data == nullptr) throw Error(Exit::resources, "memory: no room for " + std::to_string(bytes) + " bytes");
  return Buffer(data, bytes, [](void* p, std::int64_t) { std::free(p); });
}

// BF16 is the upper half of FP32.
inline float widened(std::uint16_t value) { return std::bit_cast<float>(static_cast<std::uint32_t>(value) << 16); }
// To nearest even, of a finite value.
inline std::uint16_t rounded(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

}  // namespace nll
