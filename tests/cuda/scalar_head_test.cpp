// The scalar head against its formula in FP64, in every type.
#include <gtest/gtest.h>

#include "tests/cuda/matrices.h"

namespace nll::test {
namespace {

struct Case {
  std::int64_t n, width;
};
// Widths with and without 16-byte accesses; more tokens than one partial sum of dweight takes.
const Case cases[] = {{1, 1}, {3, 7}, {9, 24}, {30, 515}, {300, 8}};

void for_every_case(const std::function<void(CudaMachine&, const Case&, DType)>& body) {
  CudaMachine machine;
  for (const DType type : number_types) {
    for (const Case& c : cases) {
      SCOPED_TRACE(type_name(type) + ", " + std::to_string(c.n) + " tokens of " + std::to_string(c.width));
      body(machine, c, type);
    }
  }
}

TEST(CudaScalarHead, EqualsItsFormula) {
  for_every_case([](CudaMachine& machine, const Case& c, DType type) {
    Random random(1);
    const Reals h = rounded(random.normals(c.n * c.width), type), weight = random.normals(c.width);
    const Tensor values = machine.poisoned({c.n});
    machine.ops().scalar_head(values, machine.put(h, {c.n, c.width}, type), machine.put(weight, {c.width}));
    expect_close(machine.get(values), linear(h, weight, {}, c.width), DType::f32, sum_terms(c.width));
  });
}

struct Gradients {
  Reals dh, dweight;
};
Gradients gradients_of(const Reals& dvalues, double scale, const Reals& h, const Reals& weight) {
  Gradients expected{{}, Reals(weight.size())};
  for (std::size_t i = 0; i < dvalues.size(); ++i) {
    for (std::size_t j = 0; j < weight.size(); ++j) {
      expected.dh.push_back(scale * dvalues[i] * weight[j]);
      expected.dweight[j] += scale * dvalues[i] * h[i * weight.size() + j];
    }
  }
  return expected;
}

TEST(CudaScalarHead, BackwardEqualsItsFormula) {
  for_every_case([](CudaMachine& machine, const Case& c, DType type) {
    Random random(2);
    const Reals h = rounded(random.normals(c.n * c.width), type), weight = random.normals(c.width);
    const Reals dh_before = rounded(random.normals(c.n * c.width), type), dweight_before = random.normals(c.width);
    Reals dvalues = random.normals(c.n);
    dvalues[0] = 0;
    const double scale = 4;
    const Gradients expected = gradients_of(dvalues, scale, h, weight);
    const Tensor in = machine.put(h, {c.n, c.width}, type), factors = machine.put(weight, {c.width});
    const Tensor gradient = machine.put(dvalues, {c.n}), loss_scale = machine.put({scale}, {1});
    const Tensor dh = machine.poisoned({c.n, c.width}, type), dweight = machine.poisoned({c.width});
    machine.ops().scalar_head_backward(dh, Into::write, dweight, Into::write, gradient, in, factors, loss_scale);
    expect_close(machine.get(dh), expected.dh, type, 2);
    expect_close(machine.get(dweight), expected.dweight, DType::f32, sum_terms(c.n));
    const Tensor more_dh = machine.put(dh_before, {c.n, c.width}, type), more = machine.put(dweight_before, {c.width});
    machine.ops().scalar_head_backward(more_dh, Into::add, {}, Into::add, gradient, in, factors, loss_scale);
    machine.ops().scalar_head_backward({}, Into::add, more, Into::add, gradient, in, factors, loss_scale);
    expect_close(machine.get(more_dh), sum(dh_before, expected.dh), type, 3);
    expect_close(machine.get(more), sum(dweight_before, expected.dweight), DType::f32, sum_terms(c.n));
  });
}

TEST(CudaScalarHead, BackwardWithoutLossScaleLeavesTheGradientAsItIs) {
  CudaMachine machine;
  const Tensor h = machine.put({1, 2, 3, 4}, {2, 2}), weight = machine.put({5, 6}, {2});
  const Tensor dh = machine.make({2, 2}), dweight = machine.make({2});
  machine.ops().scalar_head_backward(dh, Into::write, dweight, Into::write, machine.put({2, -1}, {2}), h, weight, {});
  EXPECT_EQ(machine.get(dh), (Reals{10, 12, -5, -6}));
  EXPECT_EQ(machine.get(dweight), (Reals{-1, 0}));
}

TEST(CudaScalarHead, TokensWithoutAGradientTakeNoPart) {
  CudaMachine machine;
  const Tensor h = machine.put({NAN, INFINITY, 3, 4}, {2, 2}), weight = machine.put({5, 6}, {2});
  const Tensor dh = machine.put({7, 7, 7, 7}, {2, 2}), dweight = machine.make({2});
  machine.ops().scalar_head_backward(dh, Into::write, dweight, Into::write, machine.put({0, 2}, {2}), h, weight, {});
  EXPECT_EQ(machine.get(dh), (Reals{0, 0, 10, 12}));
  EXPECT_EQ(machine.get(dweight), (Reals{6, 8}));
}

TEST(CudaScalarHead, OfNoTokensWritesAGradientOfZeros) {
  CudaMachine machine;
  const Tensor none = machine.make({1, 3}).slice(0, 0), values = machine.make({1}).slice(0, 0);
  const Tensor weight = machine.put({1, 2, 3}, {3}), dweight = machine.put({4, 5, 6}, {3});
  machine.ops().scalar_head(values, none, weight);
  machine.ops().scalar_head_backward(none, Into::write, dweight, Into::add, values, none, weight, {});
  EXPECT_EQ(machine.get(dweight), (Reals{4, 5, 6}));
  machine.ops().scalar_head_backward(none, Into::write, dweight, Into::write, values, none, weight, {});
  EXPECT_EQ(machine.get(dweight), Reals(3));
}

TEST(CudaScalarHead, GivesTheSameBitsInEveryRun) {
  CudaMachine machine;
  constexpr std::int64_t n = 600, width = 20;
  Random random(5);
  const Tensor h = machine.put(random.normals(n * width), {n, width}, DType::bf16);
  const Tensor weight = machine.put(random.normals(width), {width}), dvalues = machine.put(random.normals(n), {n});
  const Tensor dweight = machine.make({width});
  std::vector<std::uint8_t> first;
  for (int run = 0; run < 2; ++run) {
    machine.ops().scalar_head_backward({}, Into::write, dweight, Into::write, dvalues, h, weight, {});
    if (run == 0) first = machine.get_bytes(dweight);
  }
  EXPECT_EQ(machine.get_bytes(dweight), first);
}

}  // namespace
}  // namespace nll::test
