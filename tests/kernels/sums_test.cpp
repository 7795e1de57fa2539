// Sums of what ranks and micro-batches hold, and gradients in BF16 on their way between ranks.
#include <cmath>
#include <cstring>
#include <limits>

#include "tests/kernels/machine.h"
#include "tests/kernels/reference.h"

namespace nll::test {

namespace {

// (0 + 1) + (2 + 3) ...: the left half is the largest power of two.
float tree(const std::vector<float>& x) {
  if (x.size() == 1) return x[0];
  std::size_t half = 1;
  while (2 * half < x.size()) half *= 2;
  return tree({x.begin(), x.begin() + static_cast<std::ptrdiff_t>(half)}) +
         tree({x.begin() + static_cast<std::ptrdiff_t>(half), x.end()});
}

std::vector<float> of_all_ranks(const std::vector<float>& parts, std::int64_t ranks, std::int64_t n, std::int64_t i) {
  std::vector<float> x;
  for (std::int64_t r = 0; r < ranks; ++r) x.push_back(parts[static_cast<std::size_t>(r * n + i)]);
  return x;
}

}  // namespace

TEST(Add, AddsElements) {
  on_every_machine([](Machine& machine) {
    const std::int64_t n = 5001;
    Random random(1);
    const Reals a = random.normals(n), b = random.normals(n);
    const Tensor to = machine.put(a, {n});
    machine.ops().add(to, machine.put(b, {n}));
    const std::vector<float> sum = machine.get(to);
    for (std::size_t i = 0; i < sum.size(); ++i) EXPECT_EQ(sum[i], static_cast<float>(a[i]) + static_cast<float>(b[i]));
  });
}

TEST(SumParts, AddsInTheOrderThatIsAskedFor) {
  for (const std::int64_t ranks : {1, 2, 3, 4, 5, 6, 7, 8, 13}) {
    on_every_machine([&](Machine& machine) {
      const std::int64_t n = 1300;
      const Tensor parts = machine.put(Random(2).normals(ranks * n), {ranks, n}), sum = machine.make({n});
      const std::vector<float> values = machine.get(parts);
      machine.ops().sum_parts(sum, parts, SumOrder::sequence);
      const std::vector<float> sequence = machine.get(sum);
      machine.ops().sum_parts(sum, parts, SumOrder::tree);
      const std::vector<float> in_tree = machine.get(sum);
      for (std::int64_t i = 0; i < n; ++i) {
        const std::vector<float> x = of_all_ranks(values, ranks, n, i);
        float expected = x[0];
        for (std::size_t r = 1; r < x.size(); ++r) expected += x[r];
        ASSERT_EQ(sequence[static_cast<std::size_t>(i)], expected) << ranks << " ranks";
        ASSERT_EQ(in_tree[static_cast<std::size_t>(i)], tree(x)) << ranks << " ranks";
      }
    });
  }
}

TEST(SumParts, AddsBf16PartsInFp32) {
  Machine machine;
  const std::int64_t ranks = 3, n = 1000;
  const Tensor exact = machine.put(Random(3).normals(ranks * n), {ranks, n}), sum = machine.make({n});
  const Tensor rounded = machine.make({ranks, n}, DType::bf16), back = machine.make({ranks, n});
  machine.ops().convert(rounded, exact);
  machine.ops().convert(back, rounded);
  const std::vector<float> parts = machine.get(back);
  machine.ops().sum_parts(sum, rounded, SumOrder::sequence);
  const std::vector<float> found = machine.get(sum);
  for (std::int64_t i = 0; i < n; ++i) {
    const std::vector<float> x = of_all_ranks(parts, ranks, n, i);
    EXPECT_EQ(found[static_cast<std::size_t>(i)], (x[0] + x[1]) + x[2]);
  }
}

TEST(Convert, RoundsToBf16ToNearestEvenAndKeepsNaN) {
  Machine machine;
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  // 1 + 2^-8 lies in the middle of 1 and 1 + 2^-7, 1 + 3 2^-8 in the middle of the next two.
  const std::vector<float> values = {0,         -0.0f,    1,         1 + 0x1p-8f, 1 + 3 * 0x1p-8f, 1 + 0x1.1p-8f,
                                     -3.14159f, infinity, -infinity, nan};
  const std::vector<float> expected = {0, -0.0f, 1, 1, 1 + 0x1p-6f, 1 + 0x1p-7f, -3.140625f, infinity, -infinity, nan};
  const auto n = static_cast<std::int64_t>(values.size());
  const Tensor from = machine.make({n}), low = machine.make({n}, DType::bf16), to = machine.make({n});
  machine.device().upload(from, values.data());
  machine.ops().convert(low, from);
  machine.ops().convert(to, low);
  const std::vector<float> found = machine.get(to);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isnan(expected[i])) {
      EXPECT_TRUE(std::isnan(found[i]));
    } else {
      EXPECT_EQ(found[i], expected[i]) << values[i];
    }
  }
}

TEST(SquareSums, OfAPartOfBlocksAreThoseOfTheWhole) {
  on_every_machine([](Machine& machine) {
    const std::int64_t n = 5 * Ops::norm_block + 77;
    const Tensor x = machine.put(Random(4).normals(n), {n});
    const Tensor whole = machine.make({6}, DType::f64), parts = machine.make({6}, DType::f64);
    machine.ops().square_sums(whole, x);
    machine.ops().square_sums(parts.slice(2, 4), x.slice(2 * Ops::norm_block, n - 2 * Ops::norm_block));
    machine.ops().square_sums(parts.slice(0, 2), x.slice(0, 2 * Ops::norm_block));
    EXPECT_EQ(std::memcmp(whole.data(), parts.data(), 6 * 8), 0);
  });
}

}  // namespace nll::test
