#include "tests/kernels/reference.h"

namespace nll::test {
namespace {

struct Case {
  std::int64_t n, width;
};
const Case cases[] = {{1, 2}, {3, 5}, {7, 33}, {70, 16}, {2, 100}};

TEST(LayerNorm, EqualsItsFormula) {
  for (const Case& c : cases) {
    Random random(1);
    Reals x = random.normals(c.n * c.width, 3);
    for (double& value : x) value += 5;  // a mean that a one-pass variance would lose digits to
    const Reals weight = random.normals(c.width), bias = random.normals(c.width);
    const Reals expected = layernorm(x, weight, bias);
    on_every_machine([&](Machine& machine) {
      const Tensor y = machine.make({c.n, c.width}), mean = machine.make({c.n}), rstd = machine.make({c.n});
      machine.ops().layernorm(y, mean, rstd, machine.put(x, {c.n, c.width}), machine.put(weight, {c.width}),
                              machine.put(bias, {c.width}));
      expect_near(machine.get(y), expected, 32);
      for (const float value : machine.get(mean)) EXPECT_NEAR(value, 5, 12);
    });
  }
}

TEST(LayerNorm, OfAResidualAddsTheDroppedBranchFirst) {
  for (const float rate : {0.0f, 0.25f}) {
    constexpr std::int64_t n = 9, width = 37;
    const Dropout dropout{rate, 7, 8, 21};
    Random random(2);
    const Reals x = random.normals(n * width), branch = random.normals(n * width);
    const Reals weight = random.normals(width), bias = random.normals(width);
    const Reals factors = dropout_factors(dropout, n, width);
    Reals residual = x;
    for (std::size_t i = 0; i < residual.size(); ++i) residual[i] += factors[i] * branch[i];
    on_every_machine([&](Machine& machine) {
      const Tensor sum = machine.make({n, width}), y = machine.make({n, width});
      machine.ops().residual_layernorm(sum, y, machine.make({n}), machine.make({n}), machine.put(x, {n, width}),
                                       machine.put(branch, {n, width}), machine.put(weight, {width}),
                                       machine.put(bias, {width}), dropout);
      expect_near(machine.get(sum), residual, 4);
      expect_near(machine.get(y), layernorm(residual, weight, bias), 32);
    });
  }
}

TEST(LayerNorm, BackwardEqualsCentralDifferences) {
  for (const Case& c : cases) {
    Random random(3);
    Reals x = random.normals(c.n * c.width), weight = random.normals(c.width), bias = random.normals(c.width);
    const Reals dy = random.normals(c.n * c.width);
    const auto loss = [&] { return dot(dy, layernorm(x, weight, bias)); };
    const Reals dx = central_differences(x, loss);
    const Reals dweight = central_differences(weight, loss), dbias = central_differences(bias, loss);
    const Reals dx_before = random.normals(c.n * c.width), before = random.normals(c.width);
    const Dropout dropout{0.5f, 1, 2, 3};
    const Reals factors = dropout_factors(dropout, c.n, c.width);
    // The error of dx is that of its three terms, each up to rstd times as large as dy * weight.
    const double terms = 64 + std::sqrt(static_cast<double>(c.n)), parts = c.width == 2 ? 64 : 4;
    on_every_machine([&](Machine& machine) {
      const Tensor tx = machine.put(x, {c.n, c.width}), tweight = machine.put(weight, {c.width});
      const Tensor y = machine.make({c.n, c.width}), mean = machine.make({c.n}), rstd = machine.make({c.n});
      machine.ops().layernorm(y, mean, rstd, tx, tweight, machine.put(bias, {c.width}));
      for (const Into into : {Into::write, Into::add}) {
        const bool add = into == Into::add;
        const Tensor tdx = machine.put(dx_before, {c.n, c.width}), dbranch = machine.make({c.n, c.width});
        const Tensor tdweight = machine.put(before, {c.width}), tdbias = machine.put(before, {c.width});
        machine.ops().layernorm_backward(tdx, into, dbranch, dropout, tdweight, tdbias, into,
                                         machine.put(dy, {c.n, c.width}), tx, tweight, mean, rstd);
        const Reals expected = add ? sum(dx_before, dx) : dx;
        expect_near(machine.get(tdx), expected, terms, parts);
        expect_near(machine.get(tdweight), add ? sum(before, dweight) : dweight, terms, parts);
        expect_near(machine.get(tdbias), add ? sum(before, dbias) : dbias, terms, parts);
        Reals branch = expected;
        for (std::size_t i = 0; i < branch.size(); ++i) branch[i] *= factors[i];
        expect_near(machine.get(dbranch), branch, 2 * terms, parts);
      }
    });
  }
}

TEST(LayerNorm, BackwardWritesTheBranchWithoutDropoutToo) {
  Machine machine;
  const Tensor one = machine.put({1, 1}, {2}), x = machine.put({1, 2}, {1, 2}), mean = machine.put({1.5}, {1});
  const Tensor dbranch = machine.put({7, 8}, {1, 2}), dx = machine.put({3, 4}, {1, 2});
  machine.ops().layernorm_backward(dx, Into::add, dbranch, {}, machine.make({2}), machine.make({2}), Into::write, x, x,
                                   one, mean, machine.put({2}, {1}));
  EXPECT_EQ(machine.get(dbranch), machine.get(dx));
}

}  // namespace
}  // namespace nll::test
