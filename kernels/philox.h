// Philox4x32-10, a counter-based random generator: the same (key, counter) gives the same bits on every device.
// J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#pragma once
#include <array>
#include <cstdint>

#if defined(__CUDACC__)
#define NLL_HOST_DEVICE __host__ __device__
#else
#define NLL_HOST_DEVICE
#endif

namespace nll {

struct PhiloxBlock {
  std::uint32_t word[4];
};

// Four random words of block `index` of stream `stream` under `seed`.
NLL_HOST_DEVICE inline PhiloxBlock philox(std::uint64_t seed, std::uint64_t stream, std::uint64_t index) {
  std::uint32_t key0 = static_cast<std::uint32_t>(seed), key1 = static_cast<std::uint32_t>(seed >> 32);
  std::uint32_t c0 = static_cast<std::uint32_t>(index), c1 = static_cast<std::uint32_t>(index >> 32);
  std::uint32_t c2 = static_cast<std::uint32_t>(stream), c3 = static_cast<std::uint32_t>(stream >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{0xD2511F53u} * c0;
    const std::uint64_t product1 = std::uint64_t{0xCD9E8D57u} * c2;
    const std::uint32_t next0 = static_cast<std::uint32_t>(product1 >> 32) ^ c1 ^ key0;
    const std::uint32_t next2 = static_cast<std::uint32_t>(product0 >> 32) ^ c3 ^ key1;
    c1 = static_cast<std::uint32_t>(product1);
    c3 = static_cast<std::uint32_t>(product0);
    c0 = next0;
    c2 = next2;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// 24 random bits as a float in [0, 1).
NLL_HOST_DEVICE inline float unit_float(std::uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }
// 53 random bits as a double in [0, 1).
NLL_HOST_DEVICE inline double unit_double(std::uint32_t high, std::uint32_t low) {
  return static_cast<double>((static_cast<std::uint64_t>(high) << 32 | low) >> 11) * 0x1p-53;
}

// What a stream of random numbers is for. A stream is purpose * 2^56 + what the purpose counts.
enum class RandomPurpose : std::uint64_t { initialize = 1, dropout = 2, shuffle = 3, sample = 4, mix = 5 };

inline std::uint64_t random_stream(RandomPurpose purpose, std::uint64_t which) {
  return static_cast<std::uint64_t>(purpose) << 56 | (which & ((std::uint64_t{1} << 56) - 1));
}

}  // namespace nll
