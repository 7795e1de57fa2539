// Matrix products in FP64, row-major, for the tests of products on a GPU.
#pragma once
#include "kernels/cuda/gemm.h"
#include "tests/cuda/machine.h"

namespace nll::test {

struct Sizes {
  std::int64_t m, n, k;
};

// Element (row, column) of the factors of a product as they lie in memory: a is (m,k), or (k,m) for tn; b is (k,n), or
// (n,k) for nt.
inline double factor_a(const Reals& a, cuda::Product product, const Sizes& s, std::int64_t row, std::int64_t l) {
  return a[static_cast<std::size_t>(product == cuda::Product::tn ? l * s.m + row : row * s.k + l)];
}
inline double factor_b(const Reals& b, cuda::Product product, const Sizes& s, std::int64_t l, std::int64_t column) {
  return b[static_cast<std::size_t>(product == cuda::Product::nt ? column * s.k + l : l * s.n + column)];
}

// (m,n)
inline Reals product(cuda::Product kind, const Reals& a, const Reals& b, const Sizes& s) {
  Reals c(static_cast<std::size_t>(s.m * s.n));
  for (std::int64_t i = 0; i < s.m; ++i) {
    for (std::int64_t l = 0; l < s.k; ++l) {
      const double x = factor_a(a, kind, s, i, l);
      for (std::int64_t j = 0; j < s.n; ++j) {
        c[static_cast<std::size_t>(i * s.n + j)] += x * factor_b(b, kind, s, l, j);
      }
    }
  }
  return c;
}

// Sums over the rows of x (rows, columns).
inline Reals sums_over_rows(const Reals& x, std::int64_t columns) {
  Reals sums(static_cast<std::size_t>(columns));
  for (std::size_t i = 0; i < x.size(); ++i) sums[i % sums.size()] += x[i];
  return sums;
}

inline double gelu_slope(double x) {
  const double c = std::sqrt(2 / std::acos(-1.0)), t = std::tanh(c * (x + 0.044715 * x * x * x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x);
}
inline Reals gelu_slopes(Reals x) {
  for (double& value : x) value = gelu_slope(value);
  return x;
}

inline Reals times(Reals a, const Reals& b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] *= b[i];
  return a;
}

inline double largest(const Reals& values) {
  double most = 0;
  for (const double value : values) most = std::max(most, std::abs(value));
  return most;
}

// Roundings of an FP32 sum of k products, in whatever order: their number grows with k, their sum like its root.
inline double sum_terms(std::int64_t k) { return 2 * std::sqrt(static_cast<double>(k)) + 8; }

// |actual - expected| <= bounds, element by element.
inline void expect_within(const Reals& actual, const Reals& expected, const Reals& bounds) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    ASSERT_TRUE(std::abs(actual[i] - expected[i]) <= bounds[i])
        << "element " << i << ": " << actual[i] << ", expected " << expected[i] << " within " << bounds[i];
  }
}

// gelu(pre), which an op computed from a sum of k products that it kept in FP32 or rounded to `type` first.
inline void expect_gelu(const Reals& actual, const Reals& pre, DType type, std::int64_t k) {
  const Reals expected = gelu(pre);
  const double sums = epsilon * (sum_terms(k) + 8) * std::max(largest(pre), 1e-3);
  Reals bounds = expected;
  // The slope of GELU is below 1.13.
  for (std::size_t i = 0; i < pre.size(); ++i) {
    bounds[i] = unit_of(type) * (std::abs(expected[i]) + 1.13 * std::abs(pre[i])) + 1.13 * sums + 1e-7;
  }
  expect_within(actual, expected, bounds);
}

}  // namespace nll::test
