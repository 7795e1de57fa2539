#include "kernels/philox.h"

#include <gtest/gtest.h>

#include "kernels/cpu/rows.h"

namespace nll {
namespace {

// Known answers of philox4x32-10, from the authors' Random123 distribution.
TEST(Philox, GivesThePublishedWords) {
  const PhiloxBlock zeros = philox(0, 0, 0);
  EXPECT_EQ(zeros.word[0], 0x6627e8d5u);
  EXPECT_EQ(zeros.word[1], 0xe169c58du);
  EXPECT_EQ(zeros.word[2], 0xbc57ac4cu);
  EXPECT_EQ(zeros.word[3], 0x9b00dbd8u);
  const PhiloxBlock ones = philox(~0ull, ~0ull, ~0ull);
  EXPECT_EQ(ones.word[0], 0x408f276du);
  EXPECT_EQ(ones.word[1], 0x41c83b0eu);
  EXPECT_EQ(ones.word[2], 0xa20bc7c6u);
  EXPECT_EQ(ones.word[3], 0x6d5451fdu);
  const PhiloxBlock pi = philox(0x299f31d0a4093822u, 0x0370734413198a2eu, 0x85a308d3243f6a88u);
  EXPECT_EQ(pi.word[0], 0xd16cfe09u);
  EXPECT_EQ(pi.word[1], 0x94fdccebu);
  EXPECT_EQ(pi.word[2], 0x5001e420u);
  EXPECT_EQ(pi.word[3], 0x24126ea1u);
}

TEST(Philox, UnitNumbersStayBelowOne) {
  EXPECT_EQ(unit_float(0), 0.0f);
  EXPECT_LT(unit_float(~0u), 1.0f);
  EXPECT_EQ(unit_double(0, 0), 0.0);
  EXPECT_LT(unit_double(~0u, ~0u), 1.0);
}

TEST(Philox, PurposesHaveDisjointStreams) {
  EXPECT_NE(random_stream(RandomPurpose::dropout, 5), random_stream(RandomPurpose::shuffle, 5));
  EXPECT_EQ(random_stream(RandomPurpose::dropout, std::uint64_t{1} << 56), random_stream(RandomPurpose::dropout, 0));
}

// The vector code of dropout is this generator, from any word on, across 2^34 words (where the low half of the counter
// wraps) too.
TEST(Philox, TheRowKernelsUseTheSameWords) {
  int count = 0;
  const char* const* names = cpu::supported_instructions(&count);
  for (int i = 0; i < count; ++i) {
    const cpu::RowKernels& rows = *cpu::row_kernels(names[i]);
    for (const std::uint64_t first :
         {std::uint64_t{0}, std::uint64_t{3}, std::uint64_t{4001}, (std::uint64_t{1} << 34) - 30}) {
      for (const std::int64_t n : {1, 5, 64, 200}) {
        std::vector<float> factors(static_cast<std::size_t>(n) + 1, -7.0f);
        rows.dropout_factors(factors.data(), n, first, 0.4f, 11, 13);
        for (std::int64_t j = 0; j < n; ++j) {
          const std::uint64_t word = first + static_cast<std::uint64_t>(j);
          const float unit = unit_float(philox(11, 13, word / 4).word[word % 4]);
          ASSERT_EQ(factors[static_cast<std::size_t>(j)], unit >= 0.4f ? 1 / (1 - 0.4f) : 0.0f)
              << names[i] << " " << word;
        }
        ASSERT_EQ(factors.back(), -7.0f);  // nothing beyond the row
      }
    }
  }
}

}  // namespace
}  // namespace nll
