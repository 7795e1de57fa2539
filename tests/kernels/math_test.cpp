// exp and tanh of the row kernels against FP64, over all magnitudes.
#include <cmath>
#include <cstring>
#include <limits>

#include "tests/kernels/machine.h"

namespace nll::test {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();
constexpr double accuracy = 2e-7;               // relative
const double smallest = std::ldexp(1.0, -149);  // spacing of the subnormal numbers

void on_every_instruction_set(const std::function<void(const cpu::RowKernels&)>& body) {
  int count = 0;
  const char* const* names = cpu::supported_instructions(&count);
  ASSERT_GE(count, 1);
  for (int i = 0; i < count; ++i) {
    SCOPED_TRACE(names[i]);
    body(*cpu::row_kernels(names[i]));
  }
}

// Every 997th float there is, of both signs, up to `limit`.
std::vector<float> floats_up_to(float limit) {
  std::vector<float> values;
  for (std::uint32_t bits = 0;; bits += 997) {
    float value = 0;
    std::memcpy(&value, &bits, sizeof(value));
    if (!(value <= limit)) break;
    values.push_back(value);
    values.push_back(-value);
  }
  return values;
}

TEST(Math, ExponentialIsAccurateWhereverItIsFinite) {
  const std::vector<float> x = floats_up_to(104);
  on_every_instruction_set([&](const cpu::RowKernels& rows) {
    std::vector<float> y(x.size());
    rows.exponential(y.data(), x.data(), static_cast<std::int64_t>(x.size()));
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double expected = std::exp(static_cast<double>(x[i]));
      if (expected > static_cast<double>(std::numeric_limits<float>::max())) {
        ASSERT_GT(y[i], 3.4e38f) << x[i];
      } else {
        ASSERT_NEAR(y[i], expected, accuracy * expected + smallest) << x[i];
      }
    }
  });
}

TEST(Math, HyperbolicTangentIsAccurateEverywhere) {
  const std::vector<float> x = floats_up_to(std::numeric_limits<float>::max());
  on_every_instruction_set([&](const cpu::RowKernels& rows) {
    std::vector<float> y(x.size());
    rows.hyperbolic_tangent(y.data(), x.data(), static_cast<std::int64_t>(x.size()));
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double expected = std::tanh(static_cast<double>(x[i]));
      ASSERT_NEAR(y[i], expected, accuracy * std::abs(expected) + smallest) << x[i];
    }
  });
}

TEST(Math, LimitsAndNaN) {
  on_every_instruction_set([](const cpu::RowKernels& rows) {
    const float x[] = {infinity, -infinity, not_a_number, 0, 89, -104, 1000, -1000};
    float y[8];
    rows.exponential(y, x, 8);
    EXPECT_EQ(y[0], infinity);
    EXPECT_EQ(y[1], 0);
    EXPECT_TRUE(std::isnan(y[2]));
    EXPECT_EQ(y[3], 1);
    EXPECT_EQ(y[4], infinity);
    EXPECT_EQ(y[5], 0);
    EXPECT_EQ(y[6], infinity);
    EXPECT_EQ(y[7], 0);
    rows.hyperbolic_tangent(y, x, 8);
    EXPECT_EQ(y[0], 1);
    EXPECT_EQ(y[1], -1);
    EXPECT_TRUE(std::isnan(y[2]));
    EXPECT_EQ(y[3], 0);
  });
}

TEST(Math, GeluOfLargeNumbersIsTheNumberOrZero) {
  on_every_instruction_set([](const cpu::RowKernels& rows) {
    float x[] = {1e30f, -1e4f, 50, -50, not_a_number}, y[5], derivative[5];
    const float ones[] = {1, 1, 1, 1, 1};
    rows.bias_gelu(y, x, nullptr, 5);
    rows.gelu_backward(derivative, ones, x, 5);
    EXPECT_EQ(y[0], 1e30f);
    EXPECT_NEAR(y[1], 0, 1e-30);
    EXPECT_EQ(y[2], 50);
    EXPECT_NEAR(y[3], 0, 1e-30);
    EXPECT_EQ(derivative[0], 1);
    EXPECT_NEAR(derivative[1], 0, 1e-30);
    EXPECT_EQ(derivative[2], 1);
    EXPECT_TRUE(std::isnan(y[4]));
    EXPECT_TRUE(std::isnan(derivative[4]));
  });
}

}  // namespace
}  // namespace nll::test
