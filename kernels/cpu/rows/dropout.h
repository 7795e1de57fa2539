// Dropout factors of a row: Philox4x32-10 (kernels/philox.h) for `philox_batch` blocks at a time, one block in each
// 64-bit lane. The low halves of the lanes are the generator's words; what the high halves hold is never read.
#pragma once
#include "kernels/cpu/rows/vector.h"

namespace nll::cpu {
namespace {

typedef std::uint64_t Longs __attribute__((vector_size(width * 4)));
constexpr int long_lanes = width / 2;

// Products of the low halves of the lanes: one instruction, which GCC finds only by its name.
NLL_INLINE Longs multiply_low_halves(Longs a, Longs b) {
#if defined(__x86_64__) && !defined(__clang__)
#if defined(__AVX512F__)
  typedef long long SignedLongs __attribute__((vector_size(64)));
  return reinterpret_cast<Longs>(__builtin_ia32_pmuludq512_mask(reinterpret_cast<Ints>(a), reinterpret_cast<Ints>(b),
                                                                SignedLongs{}, static_cast<unsigned char>(-1)));
#elif defined(__AVX2__)
  return reinterpret_cast<Longs>(__builtin_ia32_pmuludq256(reinterpret_cast<Ints>(a), reinterpret_cast<Ints>(b)));
#else
  return reinterpret_cast<Longs>(__builtin_ia32_pmuludq128(reinterpret_cast<Ints>(a), reinterpret_cast<Ints>(b)));
#endif
#else
  return (a & 0xffffffffull) * (b & 0xffffffffull);
#endif
}

// Independent vectors, so that one's multiplications run while another's are on their way.
constexpr int philox_vectors = 4;
constexpr int philox_batch = philox_vectors * long_lanes;

// Words of blocks [first, first + philox_batch), block by block.
NLL_INLINE void philox_blocks(std::uint64_t* words, std::uint64_t first, std::uint64_t seed, std::uint64_t stream) {
  Longs c0[philox_vectors], c1[philox_vectors], c2[philox_vectors], c3[philox_vectors];
  for (int v = 0; v < philox_vectors; ++v) {
    for (int lane = 0; lane < long_lanes; ++lane) {
      c0[v][lane] = first + static_cast<std::uint64_t>(v * long_lanes + lane);
    }
    c1[v] = c0[v] >> 32;
    c2[v] = Longs{} + stream;
    c3[v] = c2[v] >> 32;
  }
  const Longs factor0 = Longs{} + 0xD2511F53ull, factor1 = Longs{} + 0xCD9E8D57ull;
  std::uint32_t key0 = static_cast<std::uint32_t>(seed), key1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int v = 0; v < philox_vectors; ++v) {
      const Longs product0 = multiply_low_halves(c0[v], factor0), product1 = multiply_low_halves(c2[v], factor1);
      c0[v] = (product1 >> 32) ^ c1[v] ^ key0;
      c2[v] = (product0 >> 32) ^ c3[v] ^ key1;
      c1[v] = product1;
      c3[v] = product0;
    }
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  for (int v = 0; v < philox_vectors; ++v) {
    const Longs front = (c0[v] & 0xffffffffull) | (c1[v] << 32), back = (c2[v] & 0xffffffffull) | (c3[v] << 32);
    for (int lane = 0; lane < long_lanes; ++lane) {
      words[2 * (v * long_lanes + lane)] = front[lane];
      words[2 * (v * long_lanes + lane) + 1] = back[lane];
    }
  }
}

void dropout_factors(float* factor, std::int64_t n, std::uint64_t first_word, float rate, std::uint64_t seed,
                     std::uint64_t stream) {
  constexpr std::int64_t chunk = 4 * philox_batch;
  const float threshold = rate * 0x1p24f;  // exact, as is the conversion of 24 bits
  const Floats scale = broadcast(1.0f / (1.0f - rate));
  const std::int64_t skip = static_cast<std::int64_t>(first_word % 4);  // words of the first block before ours
  for (std::int64_t begin = -skip; begin < n; begin += chunk) {
    std::uint64_t words[chunk / 2];
    philox_blocks(words, (first_word + static_cast<std::uint64_t>(begin + skip)) / 4, seed, stream);
    float factors[chunk];
    for (std::int64_t i = 0; i < chunk; i += width) {
      Words word;
      __builtin_memcpy(&word, words + i / 2, sizeof(word));
      const Floats unit = __builtin_convertvector(reinterpret_cast<Ints>(word >> 8), Floats);
      store(factors + i, unit >= threshold ? scale : Floats{});
    }
    const std::int64_t from = begin < 0 ? -begin : 0;
    const std::int64_t to = begin + chunk <= n ? chunk : n - begin;
    __builtin_memcpy(factor + begin + from, factors + from, static_cast<std::size_t>(to - from) * sizeof(float));
  }
}

}  // namespace
}  // namespace nll::cpu
