#include "tests/kernels/reference.h"

namespace nll::test {
namespace {

struct Case {
  std::int64_t n, inputs, outputs;
};
const Case cases[] = {{1, 1, 1}, {1, 7, 130}, {5, 3, 2}, {7, 33, 65}, {129, 17, 9}, {50, 64, 192}};

TEST(Linear, EqualsItsFormula) {
  on_every_machine([](Machine& machine) {
    for (const Case& c : cases) {
      Random random(1);
      const Reals x = random.normals(c.n * c.inputs), w = random.normals(c.inputs * c.outputs);
      const Reals bias = random.normals(c.outputs);
      const Tensor y = machine.make({c.n, c.outputs}), pre = machine.make({c.n, c.outputs});
      const Tensor tx = machine.put(x, {c.n, c.inputs}), tw = machine.put(w, {c.inputs, c.outputs});
      const double terms = 2 * std::sqrt(static_cast<double>(c.inputs)) + 8;
      machine.ops().linear(y, tx, tw, machine.put(bias, {c.outputs}));
      const Reals expected = linear(x, w, bias, c.inputs);
      expect_near(machine.get(y), expected, terms);
      machine.ops().linear(y, tx, tw, {});
      expect_near(machine.get(y), linear(x, w, {}, c.inputs), terms);
      machine.ops().linear_gelu(y, pre, tx, tw, machine.put(bias, {c.outputs}));
      expect_near(machine.get(pre), expected, terms);
      expect_near(machine.get(y), gelu(expected), terms + 8);
      machine.ops().linear_gelu(y, pre, tx, tw, {});
      expect_near(machine.get(y), gelu(linear(x, w, {}, c.inputs)), terms + 8);
    }
  });
}

TEST(Linear, GeluOfWhatWasKeptHasTheBitsOfTheForwardPass) {
  on_every_machine([](Machine& machine) {
    for (const Case& c : cases) {
      Random random(7);
      const Tensor x = machine.put(random.normals(c.n * c.inputs), {c.n, c.inputs}),
                   w = machine.put(random.normals(c.inputs * c.outputs), {c.inputs, c.outputs}),
                   bias = machine.put(random.normals(c.outputs), {c.outputs});
      const Tensor y = machine.make({c.n, c.outputs}), pre = machine.make({c.n, c.outputs}),
                   again = machine.make({c.n, c.outputs});
      machine.ops().linear_gelu(y, pre, x, w, bias);
      const std::vector<float> kept = machine.get(pre);
      machine.ops().gelu(again, pre);
      EXPECT_EQ(machine.get(again), machine.get(y));
      EXPECT_EQ(machine.get(pre), kept);
    }
  });
}

TEST(Linear, BackwardEqualsCentralDifferences) {
  on_every_machine([](Machine& machine) {
    for (const Case& c : {Case{1, 1, 1}, Case{5, 3, 2}, Case{9, 17, 20}}) {
      Random random(2);
      Reals x = random.normals(c.n * c.inputs), w = random.normals(c.inputs * c.outputs);
      Reals bias = random.normals(c.outputs);
      const Reals dy = random.normals(c.n * c.outputs);
      const auto loss = [&] { return dot(dy, linear(x, w, bias, c.inputs)); };
      const Reals expected_dx = central_differences(x, loss), expected_dw = central_differences(w, loss);
      const Reals expected_dbias = central_differences(bias, loss);
      const Reals dw_before = random.normals(c.inputs * c.outputs), dbias_before = random.normals(c.outputs);
      for (const Into into : {Into::write, Into::add}) {
        const Tensor dx = machine.make({c.n, c.inputs}), dw = machine.put(dw_before, {c.inputs, c.outputs});
        const Tensor dbias = machine.put(dbias_before, {c.outputs});
        machine.ops().linear_backward(dx, dw, dbias, into, machine.put(dy, {c.n, c.outputs}),
                                      machine.put(x, {c.n, c.inputs}), machine.put(w, {c.inputs, c.outputs}));
        const bool add = into == Into::add;
        expect_near(machine.get(dx), expected_dx, 32);
        expect_near(machine.get(dw), add ? sum(dw_before, expected_dw) : expected_dw, 32);
        expect_near(machine.get(dbias), add ? sum(dbias_before, expected_dbias) : expected_dbias, 32);
      }
    }
  });
}

TEST(Linear, BackwardThroughGeluEqualsCentralDifferences) {
  for (const Case& c : {Case{1, 1, 1}, Case{5, 3, 2}, Case{9, 37, 20}}) {
    Random random(3);
    Reals pre = random.normals(c.n * c.inputs, 2), w = random.normals(c.inputs * c.outputs);
    const Reals dy = random.normals(c.n * c.outputs);
    const auto loss = [&] { return dot(dy, linear(gelu(pre), w, {}, c.inputs)); };
    const Reals expected_dpre = central_differences(pre, loss), expected_dw = central_differences(w, loss);
    on_every_machine([&](Machine& machine) {
      const Tensor dw = machine.make({c.inputs, c.outputs}), dbias = machine.make({c.outputs});
      const Tensor tdy = machine.put(dy, {c.n, c.outputs}), x = machine.put(gelu(pre), {c.n, c.inputs});
      const Tensor tw = machine.put(w, {c.inputs, c.outputs}), tpre = machine.put(pre, {c.n, c.inputs});
      const Tensor dpre = machine.make({c.n, c.inputs});
      machine.ops().linear_backward_gelu(dpre, dw, dbias, Into::write, tdy, x, tw, tpre);
      expect_near(machine.get(dpre), expected_dpre, 64);
      expect_near(machine.get(dw), expected_dw, 64);
      // In place of `pre`.
      machine.ops().linear_backward_gelu(tpre, dw, dbias, Into::write, tdy, x, tw, tpre);
      EXPECT_EQ(machine.get(tpre), machine.get(dpre));
    });
  }
}

TEST(Linear, AnEmptyInputGradientIsNotComputed) {
  Machine machine;
  const Tensor dw = machine.make({3, 2}), dbias = machine.make({2});
  machine.ops().linear_backward({}, dw, dbias, Into::write, machine.put({1, 2}, {1, 2}), machine.put({1, 2, 3}, {1, 3}),
                                machine.make({3, 2}));
  expect_near(machine.get(dw), {1, 2, 2, 4, 3, 6}, 1);
  expect_near(machine.get(dbias), {1, 2}, 1);
}

TEST(Linear, NoRowsMakeAZeroWeightGradient) {
  Machine machine;
  const Tensor dw = machine.put({1, 2, 3, 4}, {2, 2}), dbias = machine.put({5, 6}, {2});
  machine.ops().linear_backward({}, dw, dbias, Into::write, machine.make({0, 2}), machine.make({0, 2}),
                                machine.make({2, 2}));
  EXPECT_EQ(machine.get(dw), std::vector<float>(4));
  EXPECT_EQ(machine.get(dbias), std::vector<float>(2));
}

TEST(Linear, NamesTheTensorOfTheWrongShape) {
  Machine machine;
  try {
    machine.ops().linear(machine.make({4, 5}), machine.make({4, 3}), machine.make({3, 6}), {});
    FAIL() << "a wrong shape went through";
  } catch (const std::logic_error& error) {
    EXPECT_NE(std::string(error.what()).find("y (4, 5) == y (4, 6)"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace nll::test
