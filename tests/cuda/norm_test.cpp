#include <algorithm>

#include "tests/cuda/machine.h"

namespace nll::test {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }
double largest(const Reals& values) {
  double most = 0;
  for (const double value : values) most = std::max(most, std::abs(value));
  return most;
}

struct Case {
  std::int64_t n, width;
};
// Widths of every way to run: a warp a row, a block a row, 16-byte accesses or not, rows beyond the registers.
const Case cases[] = {{1, 1},   {3, 7},    {5, 33},   {0, 64},   {129, 64}, {2, 100},  {9, 104},
                      {3, 768}, {2, 1024}, {3, 1600}, {2, 4104}, {1, 8200}, {1, 16400}};

std::string text_of(const Case& c, const StreamTypes& types) {
  return type_name(types) + ", N " + std::to_string(c.n) + ", C " + std::to_string(c.width);
}

void for_every_case(const std::function<void(CudaMachine&, const Case&, const StreamTypes&)>& body) {
  for (const StreamTypes& types : stream_types) {
    CudaMachine machine;
    for (const Case& c : cases) {
      SCOPED_TRACE(text_of(c, types));
      body(machine, c, types);
    }
  }
}

Reals row_means(const Reals& x, std::int64_t width) {
  Reals means(x.size() / at(width));
  for (std::size_t i = 0; i < x.size(); ++i) means[i / at(width)] += x[i] / static_cast<double>(width);
  return means;
}
Reals row_rstds(const Reals& x, std::int64_t width) {
  const Reals means = row_means(x, width);
  Reals variances(means.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double difference = x[i] - means[i / at(width)];
    variances[i / at(width)] += difference * difference / static_cast<double>(width);
  }
  for (double& value : variances) value = 1 / std::sqrt(value + 1e-5);
  return variances;
}

TEST(CudaLayerNorm, EqualsItsFormula) {
  for_every_case([](CudaMachine& machine, const Case& c, const StreamTypes& types) {
    Random random(1);
    Reals x = random.normals(c.n * c.width, 3);
    for (double& value : x) value += 5;  // a mean that a one-pass variance would lose digits to
    x = rounded(x, types.residual);
    const Reals weight = random.normals(c.width), bias = random.normals(c.width);
    const Tensor y = machine.poisoned({c.n, c.width}, types.compute);
    const Tensor mean = machine.poisoned({c.n}), rstd = machine.poisoned({c.n});
    machine.ops().layernorm(y, mean, rstd, machine.put(x, {c.n, c.width}, types.residual),
                            machine.put(weight, {c.width}), machine.put(bias, {c.width}));
    expect_close(machine.get(y), layernorm(x, weight, bias), types.compute, 32);
    expect_close(machine.get(mean), row_means(x, c.width), DType::f32, 8);
    expect_close(machine.get(rstd), row_rstds(x, c.width), DType::f32, 16);
  });
}

TEST(CudaLayerNorm, OfAResidualAddsTheDroppedBranchFirst) {
  for (const float rate : {0.0f, 0.25f}) {
    for_every_case([rate](CudaMachine& machine, const Case& c, const StreamTypes& types) {
      const Dropout dropout{rate, 7, 8, 21};
      Random random(2);
      const Reals x = rounded(random.normals(c.n * c.width), types.residual);
      const Reals branch = rounded(random.normals(c.n * c.width), types.compute);
      const Reals weight = random.normals(c.width), bias = random.normals(c.width);
      const Reals factors = dropout_factors(dropout, c.n, c.width);
      Reals expected = x;
      for (std::size_t i = 0; i < x.size(); ++i) expected[i] += factors[i] * branch[i];
      const Tensor residual = machine.poisoned({c.n, c.width}, types.residual);
      const Tensor y = machine.poisoned({c.n, c.width}, types.compute);
      const Tensor mean = machine.poisoned({c.n}), rstd = machine.poisoned({c.n});
      machine.ops().residual_layernorm(residual, y, mean, rstd, machine.put(x, {c.n, c.width}, types.residual),
                                       machine.put(branch, {c.n, c.width}, types.compute),
                                       machine.put(weight, {c.width}), machine.put(bias, {c.width}), dropout);
      const Reals stored = machine.get(residual);
      expect_close(stored, expected, types.residual, 4);
      // Of the residual as it is stored: the backward sees no other.
      expect_close(machine.get(y), layernorm(stored, weight, bias), types.compute, 32);
      expect_close(machine.get(mean), row_means(stored, c.width), DType::f32, 16, 1);
      expect_close(machine.get(rstd), row_rstds(stored, c.width), DType::f32, 16);
    });
  }
}

// By the formula of kernels/ops.h, in FP64.
struct Gradients {
  Gradients(const Reals& x, const Reals& weight, const Reals& dy)
      : dx(x.size()), dweight(weight.size()), dbias(weight.size()) {
    const std::size_t width = weight.size();
    const Reals mean = row_means(x, static_cast<std::int64_t>(width));
    rstd = row_rstds(x, static_cast<std::int64_t>(width));
    for (std::size_t row = 0; row < rstd.size(); ++row) {
      double mean_g = 0, mean_gx = 0;
      for (std::size_t i = row * width; i < (row + 1) * width; ++i) {
        const double xhat = (x[i] - mean[row]) * rstd[row], g = dy[i] * weight[i % width];
        mean_g += g / static_cast<double>(width);
        mean_gx += g * xhat / static_cast<double>(width);
        dweight[i % width] += dy[i] * xhat;
        dbias[i % width] += dy[i];
      }
      for (std::size_t i = row * width; i < (row + 1) * width; ++i) {
        const double xhat = (x[i] - mean[row]) * rstd[row], g = dy[i] * weight[i % width];
        dx[i] = rstd[row] * (g - mean_g - xhat * mean_gx);
      }
    }
  }
  Reals dx, dweight, dbias, rstd;
};

void expect_backward(CudaMachine& machine, const Case& c, const StreamTypes& types, float rate) {
  Random random(3);
  const Reals x = rounded(random.normals(c.n * c.width), types.residual), weight = random.normals(c.width);
  const Reals dy = rounded(random.normals(c.n * c.width), types.compute);
  const Gradients expected(x, weight, dy);
  const Reals dx_before = rounded(random.normals(c.n * c.width), types.residual), before = random.normals(c.width);
  const Dropout dropout{rate, 1, 2, 3};
  const Reals factors = dropout_factors(dropout, c.n, c.width);
  const Tensor tx = machine.put(x, {c.n, c.width}, types.residual), tweight = machine.put(weight, {c.width});
  const Tensor tdy = machine.put(dy, {c.n, c.width}, types.compute);
  const Tensor mean = machine.put(row_means(x, c.width), {c.n}), rstd = machine.put(expected.rstd, {c.n});
  // dx: its three terms, each rstd times a number of the size of dy weight. Columns: a sum over the rows.
  const double dx_parts = 4 * std::max(1.0, largest(expected.rstd)) * largest(dy) * largest(weight) + 1e-3;
  const double rows = static_cast<double>(c.n), column_parts = 4 * std::sqrt(rows + 1) * std::max(1.0, largest(dy));
  for (const Into into : {Into::write, Into::add}) {
    const bool add = into == Into::add;
    const Dims whole = {c.n, c.width}, row = {c.width};
    const Tensor dx = add ? machine.put(dx_before, whole, types.residual) : machine.poisoned(whole, types.residual);
    const Tensor dbranch = machine.poisoned(whole, types.compute);
    const Tensor dweight = add ? machine.put(before, row) : machine.poisoned(row);
    const Tensor dbias = add ? machine.put(before, row) : machine.poisoned(row);
    machine.ops().layernorm_backward(dx, into, dbranch, dropout, dweight, dbias, into, tdy, tx, tweight, mean, rstd);
    const Reals gradient = add ? sum(dx_before, expected.dx) : expected.dx;
    expect_close(machine.get(dx), gradient, types.residual, 32, dx_parts);
    Reals branch = gradient;
    for (std::size_t i = 0; i < branch.size(); ++i) branch[i] *= factors[i];
    expect_close(machine.get(dbranch), branch, types.compute, 64, dx_parts);
    const double terms = 2 * std::sqrt(rows) + 16;
    expect_close(machine.get(dweight), add ? sum(before, expected.dweight) : expected.dweight, DType::f32, terms,
                 column_parts);
    expect_close(machine.get(dbias), add ? sum(before, expected.dbias) : expected.dbias, DType::f32, terms,
                 column_parts);
  }
}

TEST(CudaLayerNorm, BackwardEqualsItsFormula) {
  for_every_case([](CudaMachine& machine, const Case& c, const StreamTypes& types) {
    expect_backward(machine, c, types, c.n % 2 == 0 ? 0.0f : 0.5f);
  });
}

// More rows than one for each of the blocks that keep partial sums, and a last block that is not full.
TEST(CudaLayerNorm, BackwardSumsManyRows) {
  CudaMachine machine;
  for (const Case& c : {Case{9001, 8}, Case{8500, 1}, Case{517, 300}}) {
    SCOPED_TRACE(text_of(c, stream_types[1]));
    expect_backward(machine, c, stream_types[1], 0);
  }
}

TEST(CudaLayerNorm, BackwardLeavesABranchAloneThatIsNotWanted) {
  CudaMachine machine;
  const Tensor x = machine.put({1, 2}, {1, 2}), one = machine.put({1, 1}, {2}), mean = machine.put({1.5}, {1});
  const Tensor dx = machine.make({1, 2});
  machine.ops().layernorm_backward(dx, Into::write, {}, {0.5f, 1, 2, 3}, machine.make({2}), machine.make({2}),
                                   Into::write, x, x, one, mean, machine.put({2}, {1}));
  for (const double value : machine.get(dx)) EXPECT_TRUE(std::isfinite(value));
}

// Addresses that are not multiples of 16 bytes: the same values by another way.
TEST(CudaLayerNorm, TakesRowsAtAnyAddress) {
  for (const StreamTypes& types : stream_types) {
    SCOPED_TRACE(type_name(types));
    CudaMachine machine;
    constexpr std::int64_t n = 5, width = 64, elements = n * width;
    Random random(4);
    Reals x = rounded(random.normals(elements), types.residual), dy = rounded(random.normals(elements), types.compute);
    const Reals weight = random.normals(width), bias = random.normals(width);
    const Gradients expected(x, weight, dy);
    const auto shifted = [&](Reals values, DType type) {
      values.insert(values.begin(), 0.0);
      return machine.put(values, {elements + 1}, type).slice(1, elements).reshape({n, width});
    };
    const Tensor tx = shifted(x, types.residual), y = shifted(x, types.compute), mean = machine.make({n});
    const Tensor rstd = machine.make({n}), tweight = machine.put(weight, {width}), dweight = machine.make({width});
    machine.ops().layernorm(y, mean, rstd, tx, tweight, machine.put(bias, {width}));
    expect_close(machine.get(y), layernorm(x, weight, bias), types.compute, 32);
    const Tensor dx = shifted(x, types.residual);
    machine.ops().layernorm_backward(dx, Into::add, {}, {}, dweight, machine.make({width}), Into::write,
                                     shifted(dy, types.compute), tx, tweight, mean, rstd);
    expect_close(machine.get(dx), sum(x, expected.dx), types.residual, 64, 16);
    expect_close(machine.get(dweight), expected.dweight, DType::f32, 32, 8);
  }
}

TEST(CudaLayerNorm, OfARowDoesNotDependOnTheOthers) {
  for (const std::int64_t width : {33, 768, 1600}) {
    CudaMachine machine;
    constexpr std::int64_t n = 6;
    Random random(5);
    const Tensor x = machine.put(random.normals(n * width), {n, width}, DType::bf16);
    const Tensor branch = machine.put(random.normals(n * width), {n, width}, DType::bf16);
    const Tensor weight = machine.put(random.normals(width), {width}),
                 bias = machine.put(random.normals(width), {width});
    const Tensor residual = machine.make({n, width}, DType::bf16), y = machine.make({n, width}, DType::bf16);
    const Tensor mean = machine.make({n}), rstd = machine.make({n});
    machine.ops().residual_layernorm(residual, y, mean, rstd, x, branch, weight, bias, {0.5f, 1, 2, 100});
    for (const auto& [begin, count] : {std::pair{0, 1}, std::pair{1, 4}, std::pair{5, 1}}) {
      const Tensor part = machine.make({count, width}, DType::bf16), its_y = machine.make({count, width}, DType::bf16);
      machine.ops().residual_layernorm(part, its_y, machine.make({count}), machine.make({count}), x.slice(begin, count),
                                       branch.slice(begin, count), weight, bias, {0.5f, 1, 2, 100 + begin});
      EXPECT_EQ(machine.get_bytes(part), machine.get_bytes(residual.slice(begin, count)));
      EXPECT_EQ(machine.get_bytes(its_y), machine.get_bytes(y.slice(begin, count)));
    }
  }
}

TEST(CudaLayerNorm, BackwardGivesTheSameBitsEachTime) {
  CudaMachine machine;
  for (const Case& c : {Case{129, 96}, Case{40, 1600}, Case{77, 33}}) {
    Random random(6);
    const Tensor x = machine.put(random.normals(c.n * c.width), {c.n, c.width}, DType::bf16);
    const Tensor dy = machine.put(random.normals(c.n * c.width), {c.n, c.width}, DType::bf16);
    const Tensor weight = machine.put(random.normals(c.width), {c.width}), zeros = machine.make({c.n});
    const Tensor ones = machine.put(Reals(at(c.n), 1.0), {c.n});
    std::vector<std::uint8_t> first[3];
    for (int repeat = 0; repeat < 2; ++repeat) {
      const Tensor dx = machine.make({c.n, c.width}, DType::bf16);
      const Tensor dweight = machine.make({c.width}), dbias = machine.make({c.width});
      machine.ops().layernorm_backward(dx, Into::write, {}, {}, dweight, dbias, Into::write, dy, x, weight, zeros,
                                       ones);
      const Tensor results[] = {dx, dweight, dbias};
      for (int i = 0; i < 3; ++i) {
        if (repeat == 0) first[i] = machine.get_bytes(results[i]);
        EXPECT_EQ(machine.get_bytes(results[i]), first[i]);
      }
    }
  }
}

TEST(CudaLayerNorm, AgreesWithTheCpuInFp32) {
  constexpr std::int64_t n = 20, width = 104;
  CudaMachine machine;
  Machine cpu;
  Random random(7);
  const Reals x = random.normals(n * width), branch = random.normals(n * width), dy = random.normals(n * width);
  const Reals weight = random.normals(width), bias = random.normals(width);
  const Dropout dropout{0.25f, 5, 6, 7};
  const auto run = [&](auto& on) {
    const auto get = [&](const Tensor& tensor) {
      const auto values = on.get(tensor);
      return Reals(values.begin(), values.end());
    };
    const Tensor residual = on.make({n, width}), y = on.make({n, width}), mean = on.make({n}), rstd = on.make({n});
    const Tensor tweight = on.put(weight, {width}), dx = on.make({n, width}), dbranch = on.make({n, width});
    const Tensor dweight = on.make({width}), dbias = on.make({width});
    on.ops().residual_layernorm(residual, y, mean, rstd, on.put(x, {n, width}), on.put(branch, {n, width}), tweight,
                                on.put(bias, {width}), dropout);
    on.ops().layernorm_backward(dx, Into::write, dbranch, dropout, dweight, dbias, Into::write, on.put(dy, {n, width}),
                                residual, tweight, mean, rstd);
    return std::vector<Reals>{get(residual), get(y), get(dx), get(dbranch), get(dweight), get(dbias)};
  };
  const std::vector<Reals> found = run(machine), expected = run(cpu);
  for (std::size_t i = 0; i < found.size(); ++i) expect_close(found[i], expected[i], DType::f32, 64);
  // The same elements are dropped.
  for (std::size_t i = 0; i < found[3].size(); ++i) EXPECT_EQ(found[3][i] == 0, expected[3][i] == 0);
}

}  // namespace
}  // namespace nll::test
