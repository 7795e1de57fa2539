#include "tests/cuda_on_host/number_types.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace nll::cuda_on_host {
namespace {

// The value that the bits of a binary format stand for, from its definition.
double defined_value(unsigned bits, int exponent_bits, int mantissa_bits) {
  const int exponent = static_cast<int>(bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const int mantissa = static_cast<int>(bits) & ((1 << mantissa_bits) - 1);
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const double sign = (bits >> (exponent_bits + mantissa_bits)) & 1u ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) {
    return mantissa != 0 ? std::nan("") : sign * std::numeric_limits<double>::infinity();
  }
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * std::ldexp((1 << mantissa_bits) + mantissa, exponent - bias - mantissa_bits);
}

struct Format {
  int exponent_bits, mantissa_bits;
  float (*value)(unsigned short);
  unsigned short (*bits)(float);
};
const Format bf16 = {8, 7, [](unsigned short bits) { return __bfloat162float(__ushort_as_bfloat16(bits)); },
                     [](float x) { return __bfloat16_as_ushort(__float2bfloat16_rn(x)); }};
const Format fp16 = {5, 10, [](unsigned short bits) { return __half2float(__ushort_as_half(bits)); },
                     [](float x) { return __half_as_ushort(__float2half_rn(x)); }};

void expect_all_values(const Format& format) {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const double expected = defined_value(bits, format.exponent_bits, format.mantissa_bits);
    const float value = format.value(static_cast<unsigned short>(bits));
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(value)) << bits;
      ASSERT_EQ(format.bits(value), 0x7fff) << bits;
    } else {
      ASSERT_EQ(static_cast<double>(value), expected) << bits;
      ASSERT_EQ(std::signbit(value), std::signbit(expected)) << bits;
      ASSERT_EQ(format.bits(value), bits);
    }
  }
}
TEST(Numbers, All65536ValuesOfBf16) { expect_all_values(bf16); }
TEST(Numbers, All65536ValuesOfFp16) { expect_all_values(fp16); }

// Between every two neighbours: the middle goes to the even one, anything off the middle to the nearer.
void expect_rounding(const Format& format) {
  const unsigned infinity = ((1u << format.exponent_bits) - 1) << format.mantissa_bits;
  for (const unsigned sign : {0u, 0x8000u}) {
    for (unsigned bits = 0; bits < infinity; ++bits) {
      // Beyond the largest number lies, for rounding, the number that would follow: then it is infinity.
      const double low = defined_value(bits, format.exponent_bits, format.mantissa_bits);
      const double step = low - defined_value(bits == 0 ? 0 : bits - 1, format.exponent_bits, format.mantissa_bits);
      const double high =
          bits + 1 < infinity ? defined_value(bits + 1, format.exponent_bits, format.mantissa_bits) : low + step;
      const auto middle = static_cast<float>((low + high) / 2);
      if (static_cast<double>(middle) != (low + high) / 2) continue;  // below the smallest number of FP32
      const float factor = sign != 0 ? -1.0f : 1.0f;
      const unsigned even = bits % 2 == 0 ? bits : bits + 1;
      ASSERT_EQ(format.bits(factor * middle), sign | even) << bits;
      ASSERT_EQ(format.bits(factor * std::nextafter(middle, 0.0f)), sign | bits) << bits;
      ASSERT_EQ(format.bits(factor * std::nextafter(middle, INFINITY)), sign | (bits + 1)) << bits;
    }
    ASSERT_EQ(format.bits(sign != 0 ? -INFINITY : INFINITY), sign | infinity);
    ASSERT_EQ(format.bits(sign != 0 ? -std::numeric_limits<float>::max() : std::numeric_limits<float>::max()),
              sign | infinity);
  }
}
TEST(Numbers, Bf16RoundsToNearestEven) { expect_rounding(bf16); }
TEST(Numbers, Fp16RoundsToNearestEven) { expect_rounding(fp16); }

TEST(Numbers, PairsKeepTheirOrder) {
  const float2 a = __bfloat1622float2(__floats2bfloat162_rn(1.5f, -2.0f));
  EXPECT_EQ(a.x, 1.5f);
  EXPECT_EQ(a.y, -2.0f);
  const float2 b = __half22float2(__floats2half2_rn(1.5f, -2.0f));
  EXPECT_EQ(b.x, 1.5f);
  EXPECT_EQ(b.y, -2.0f);
}

}  // namespace
}  // namespace nll::cuda_on_host
