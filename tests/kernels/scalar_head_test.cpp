// The scalar head against its formula in FP64.

#include "tests/kernels/reference.h"

namespace nll::test {
namespace {

struct Case {
  std::int64_t n, width;
};
const Case cases[] = {{1, 1}, {3, 7}, {5, 16}, {70, 33}, {40, 130}};

TEST(ScalarHead, EqualsItsFormula) {
  on_every_machine([](Machine& machine) {
    for (const Case& c : cases) {
      Random random(1);
      const Reals h = random.normals(c.n * c.width), weight = random.normals(c.width);
      const Tensor values = machine.make({c.n});
      machine.ops().scalar_head(values, machine.put(h, {c.n, c.width}), machine.put(weight, {c.width}));
      // The sum is one of doubles, so that one rounding is left.
      expect_near(machine.get(values), linear(h, weight, {}, c.width), 2);
    }
  });
}

TEST(ScalarHead, BackwardEqualsItsFormula) {
  on_every_machine([](Machine& machine) {
    for (const Case& c : cases) {
      Random random(2);
      const Reals h = random.normals(c.n * c.width), weight = random.normals(c.width);
      const Reals dh_before = random.normals(c.n * c.width), dweight_before = random.normals(c.width);
      Reals dvalues = random.normals(c.n);
      dvalues[0] = 0;
      const double scale = 4;
      Reals expected_dh, expected_dweight(weight.size());
      for (std::size_t i = 0; i < dvalues.size(); ++i) {
        for (std::size_t j = 0; j < weight.size(); ++j) {
          expected_dh.push_back(scale * dvalues[i] * weight[j]);
          expected_dweight[j] += scale * dvalues[i] * h[i * weight.size() + j];
        }
      }
      const Tensor th = machine.put(h, {c.n, c.width}), tw = machine.put(weight, {c.width});
      const Tensor gradient = machine.put(dvalues, {c.n}), loss_scale = machine.put({scale}, {1});
      for (const Into into : {Into::write, Into::add}) {
        const Tensor dh = machine.put(dh_before, {c.n, c.width}), dweight = machine.put(dweight_before, {c.width});
        machine.ops().scalar_head_backward(dh, into, dweight, into, gradient, th, tw, loss_scale);
        const bool add = into == Into::add;
        expect_near(machine.get(dh), add ? sum(dh_before, expected_dh) : expected_dh, 3);
        expect_near(machine.get(dweight), add ? sum(dweight_before, expected_dweight) : expected_dweight,
                    2 * std::sqrt(static_cast<double>(c.n)) + 8);
      }
    }
  });
}

TEST(ScalarHead, BackwardWithoutLossScaleLeavesTheGradientAsItIs) {
  Machine machine;
  const Tensor h = machine.put({1, 2, 3, 4}, {2, 2}), weight = machine.put({5, 6}, {2});
  const Tensor dh = machine.make({2, 2}), dweight = machine.make({2}), dvalues = machine.put({2, -1}, {2});
  machine.ops().scalar_head_backward(dh, Into::write, {}, Into::write, dvalues, h, weight, {});
  machine.ops().scalar_head_backward({}, Into::write, dweight, Into::write, dvalues, h, weight, {});
  EXPECT_EQ(machine.get(dh), (std::vector<float>{10, 12, -5, -6}));
  EXPECT_EQ(machine.get(dweight), (std::vector<float>{-1, 0}));
}

TEST(ScalarHead, TokensWithoutAGradientTakeNoPart) {
  on_every_machine([](Machine& machine) {
    const Tensor h = machine.put({NAN, INFINITY, 3, 4}, {2, 2}), weight = machine.put({5, 6}, {2});
    const Tensor dh = machine.put({7, 7, 7, 7}, {2, 2}), dweight = machine.make({2});
    machine.ops().scalar_head_backward(dh, Into::write, dweight, Into::write, machine.put({0, 2}, {2}), h, weight, {});
    EXPECT_EQ(machine.get(dh), (std::vector<float>{0, 0, 10, 12}));
    EXPECT_EQ(machine.get(dweight), (std::vector<float>{6, 8}));
  });
}

TEST(ScalarHead, OfNoTokensWritesAGradientOfZeros) {
  Machine machine;
  const Tensor none = machine.make({0, 3}), values = machine.make({0}), weight = machine.put({1, 2, 3}, {3});
  const Tensor dweight = machine.put({4, 5, 6}, {3});
  machine.ops().scalar_head(values, none, weight);
  machine.ops().scalar_head_backward(none, Into::write, dweight, Into::add, values, none, weight, {});
  EXPECT_EQ(machine.get(dweight), (std::vector<float>{4, 5, 6}));
  machine.ops().scalar_head_backward(none, Into::write, dweight, Into::write, values, none, weight, {});
  EXPECT_EQ(machine.get(dweight), (std::vector<float>{0, 0, 0}));
}

}  // namespace
}  // namespace nll::test
