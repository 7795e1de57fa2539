#include <bit>
#include <utility>

#include "kernels/check.h"
#include "kernels/philox.h"
#include "src/text/loader.h"

namespace nll {

// A balanced Feistel network permutes [0, 4^half_bits); an image outside of [0, count) is sent through again until it
// is inside ("cycle walking"), which makes a permutation of [0, count). M. Luby, C. Rackoff, "How to construct
// pseudorandom permutations from pseudorandom functions", 1988; J. Black, P. Rogaway, "Ciphers with arbitrary finite
// domains", 2002. The domain is at most four times the count, so about four walks are the most one expects.
std::int64_t permuted_index(std::uint64_t seed, std::int64_t epoch, std::int64_t count, std::int64_t index) {
  CHECK(index >= 0);
  CHECK(index < count);
  constexpr std::uint64_t rounds = 8;
  const int bits = std::bit_width(static_cast<std::uint64_t>(count - 1));
  const int half_bits = (bits + 1) / 2;
  const std::uint64_t mask = (std::uint64_t{1} << half_bits) - 1;
  const std::uint64_t stream = random_stream(RandomPurpose::shuffle, static_cast<std::uint64_t>(epoch));
  auto value = static_cast<std::uint64_t>(index);
  do {
    std::uint64_t left = value >> half_bits, right = value & mask;
    for (std::uint64_t round = 0; round < rounds; ++round) {
      const std::uint64_t mixed = philox(seed, stream, round << 32 | right).word[0];
      left = std::exchange(right, (left ^ mixed) & mask);
    }
    value = left << half_bits | right;
  } while (value >= static_cast<std::uint64_t>(count));
  return static_cast<std::int64_t>(value);
}

}  // namespace nll
