#include "kernels/ops.h"

#include "tests/cuda/matrices.h"

namespace nll::test {
namespace {

using cuda::Product;

struct Case {
  std::int64_t n, inputs, outputs;
};
const Case cases[] = {{1, 1, 1}, {1, 7, 130}, {5, 3, 2}, {7, 33, 65}, {129, 17, 9}, {48, 64, 96}, {300, 16, 40}};

// One layer with its gradients, rounded to a type.
struct Layer {
  Layer(const Case& c, DType type, unsigned seed) {
    Random random(seed);
    x = rounded(random.normals(c.n * c.inputs), type);
    w = rounded(random.normals(c.inputs * c.outputs), type);
    bias = rounded(random.normals(c.outputs), type);
    dy = rounded(random.normals(c.n * c.outputs), type);
    pre = rounded(random.normals(c.n * c.inputs, 2), type);
    dx = product(Product::nt, dy, w, {c.n, c.inputs, c.outputs});
    dw = product(Product::tn, x, dy, {c.inputs, c.outputs, c.n});
    dbias = sums_over_rows(dy, c.outputs);
  }
  Reals x, w, bias, dy, pre, dx, dw, dbias;
};

void for_every_case(const std::function<void(CudaMachine&, const Case&, DType, const Layer&)>& body) {
  CudaMachine machine;
  for (const DType type : number_types) {
    for (const Case& c : cases) {
      SCOPED_TRACE(type_name(type) + ", " + std::to_string(c.n) + " rows, " + std::to_string(c.inputs) + " to " +
                   std::to_string(c.outputs));
      body(machine, c, type, Layer(c, type, 1));
    }
  }
}

TEST(CudaLinear, EqualsItsFormula) {
  for_every_case([](CudaMachine& machine, const Case& c, DType type, const Layer& layer) {
    const Tensor y = machine.make({c.n, c.outputs}, type), pre = machine.make({c.n, c.outputs}, type);
    const Tensor x = machine.put(layer.x, {c.n, c.inputs}, type), w = machine.put(layer.w, {c.inputs, c.outputs}, type);
    const Tensor bias = machine.put(layer.bias, {c.outputs}, type);
    const double terms = sum_terms(c.inputs);
    const Reals expected = linear(layer.x, layer.w, layer.bias, c.inputs);
    const Reals plain = linear(layer.x, layer.w, {}, c.inputs);
    machine.ops().linear(y, x, w, bias);
    expect_close(machine.get(y), expected, type, terms);
    machine.ops().linear(y, x, w, {});
    expect_close(machine.get(y), plain, type, terms);
    machine.ops().linear_gelu(y, pre, x, w, bias);
    expect_close(machine.get(pre), expected, type, terms);
    expect_gelu(machine.get(y), expected, type, c.inputs);
    machine.ops().linear_gelu(y, pre, x, w, {});
    expect_close(machine.get(pre), plain, type, terms);
    expect_gelu(machine.get(y), plain, type, c.inputs);
  });
}

TEST(CudaLinear, GeluOfWhatWasKeptEqualsItsFormula) {
  for_every_case([](CudaMachine& machine, const Case& c, DType type, const Layer& layer) {
    const Tensor pre = machine.put(layer.dy, {c.n, c.outputs}, type), y = machine.make({c.n, c.outputs}, type);
    machine.ops().gelu(y, pre);
    expect_gelu(machine.get(y), machine.get(pre), type, 1);
  });
}

TEST(CudaLinear, BackwardEqualsItsFormula) {
  for_every_case([](CudaMachine& machine, const Case& c, DType type, const Layer& layer) {
    const Tensor x = machine.put(layer.x, {c.n, c.inputs}, type), w = machine.put(layer.w, {c.inputs, c.outputs}, type);
    const Tensor dy = machine.put(layer.dy, {c.n, c.outputs}, type);
    Random random(2);
    const Reals dw_before = random.normals(c.inputs * c.outputs), dbias_before = random.normals(c.outputs);
    for (const Into into : {Into::write, Into::add}) {
      const Tensor dx = machine.make({c.n, c.inputs}, type);
      const Tensor dw = machine.put(dw_before, {c.inputs, c.outputs}), dbias = machine.put(dbias_before, {c.outputs});
      machine.ops().linear_backward(dx, dw, dbias, into, dy, x, w);
      const bool add = into == Into::add;
      expect_close(machine.get(dx), layer.dx, type, sum_terms(c.outputs));
      expect_close(machine.get(dw), add ? sum(dw_before, layer.dw) : layer.dw, DType::f32, sum_terms(c.n));
      expect_close(machine.get(dbias), add ? sum(dbias_before, layer.dbias) : layer.dbias, DType::f32, sum_terms(c.n));
    }
  });
}

TEST(CudaLinear, BackwardThroughGeluEqualsItsFormula) {
  for_every_case([](CudaMachine& machine, const Case& c, DType type, const Layer& layer) {
    const Tensor w = machine.put(layer.w, {c.inputs, c.outputs}, type),
                 dy = machine.put(layer.dy, {c.n, c.outputs}, type);
    const Tensor x = machine.put(layer.x, {c.n, c.inputs}, type), pre = machine.put(layer.pre, {c.n, c.inputs}, type);
    const Tensor dw = machine.make({c.inputs, c.outputs}), dbias = machine.make({c.outputs});
    const Tensor dpre = machine.make({c.n, c.inputs}, type);
    const Reals expected = times(layer.dx, gelu_slopes(layer.pre));
    // The product may be rounded to the type before it meets the slope.
    const double sums = 1.13 * epsilon * (sum_terms(c.outputs) + 16) * std::max(largest(layer.dx), 1e-3);
    Reals bounds = expected;
    for (double& bound : bounds) bound = 2.01 * unit_of(type) * std::abs(bound) + sums;
    machine.ops().linear_backward_gelu(dpre, dw, dbias, Into::write, dy, x, w, pre);
    expect_within(machine.get(dpre), expected, bounds);
    expect_close(machine.get(dw), layer.dw, DType::f32, sum_terms(c.n));
    expect_close(machine.get(dbias), layer.dbias, DType::f32, sum_terms(c.n));
    // In place of `pre`.
    machine.ops().linear_backward_gelu(pre, dw, dbias, Into::add, dy, x, w, pre);
    expect_within(machine.get(pre), expected, bounds);
    expect_close(machine.get(dw), sum(layer.dw, layer.dw), DType::f32, 2 * sum_terms(c.n));
    expect_close(machine.get(dbias), sum(layer.dbias, layer.dbias), DType::f32, 2 * sum_terms(c.n));
  });
}

TEST(CudaLinear, RepeatsBitForBit) {
  for_every_case([](CudaMachine& machine, const Case& c, DType type, const Layer& layer) {
    const Tensor x = machine.put(layer.x, {c.n, c.inputs}, type), w = machine.put(layer.w, {c.inputs, c.outputs}, type);
    const Tensor dy = machine.put(layer.dy, {c.n, c.outputs}, type),
                 pre = machine.put(layer.pre, {c.n, c.inputs}, type);
    const Tensor dw = machine.make({c.inputs, c.outputs}), dbias = machine.make({c.outputs});
    const Tensor dpre = machine.make({c.n, c.inputs}, type);
    std::vector<std::vector<std::uint8_t>> first;
    for (int repeat = 0; repeat < 2; ++repeat) {
      machine.ops().linear_backward_gelu(dpre, dw, dbias, Into::write, dy, x, w, pre);
      const std::vector<std::vector<std::uint8_t>> found = {machine.get_bytes(dpre), machine.get_bytes(dw),
                                                            machine.get_bytes(dbias)};
      if (repeat == 0) first = found;
      EXPECT_EQ(found, first);
    }
  });
}

TEST(CudaLinear, WhatIsNotWantedIsNotComputed) {
  CudaMachine machine;
  for (const DType type : number_types) {
    const Tensor dw = machine.make({3, 2}), dbias = machine.make({2}), dx = machine.make({1, 3}, type);
    const Tensor dy = machine.put({1, 2}, {1, 2}, type), x = machine.put({1, 2, 3}, {1, 3}, type);
    const Tensor w = machine.put({1, 0, 0, 1, 1, 1}, {3, 2}, type);
    machine.ops().linear_backward({}, dw, dbias, Into::write, dy, x, w);
    EXPECT_EQ(machine.get(dw), (Reals{1, 2, 2, 4, 3, 6}));
    EXPECT_EQ(machine.get(dbias), (Reals{1, 2}));
    machine.ops().linear_backward(dx, {}, {}, Into::write, dy, x, w);
    EXPECT_EQ(machine.get(dx), (Reals{1, 2, 3}));
    machine.ops().linear_backward({}, {}, dbias, Into::add, dy, x, w);
    EXPECT_EQ(machine.get(dbias), (Reals{2, 4}));
  }
}

TEST(CudaLinear, NoRowsMakeAZeroWeightGradient) {
  CudaMachine machine;
  for (const DType type : number_types) {
    const Tensor dw = machine.put({1, 2, 3, 4}, {2, 2}), dbias = machine.put({5, 6}, {2});
    const Tensor none = machine.make({0, 2}, type), w = machine.make({2, 2}, type);
    machine.ops().linear_backward(none, dw, dbias, Into::add, none, none, w);
    EXPECT_EQ(machine.get(dw), (Reals{1, 2, 3, 4}));
    EXPECT_EQ(machine.get(dbias), (Reals{5, 6}));
    machine.ops().linear_backward({}, dw, dbias, Into::write, none, none, w);
    EXPECT_EQ(machine.get(dw), Reals(4));
    EXPECT_EQ(machine.get(dbias), Reals(2));
    machine.ops().linear_gelu(none, machine.make({0, 2}, type), none, w, machine.make({2}, type));
    machine.ops().linear(none, none, w, {});
    machine.device().synchronize();
  }
}

TEST(CudaLinear, TakesAddressesOfAnyAlignment) {
  // Rows of three numbers from the second row on: nothing is aligned to more than an element or two.
  CudaMachine machine;
  for (const DType type : number_types) {
    const Layer layer({4, 3, 5}, type, 3);
    const Tensor x = machine.put(layer.x, {4, 3}, type).slice(1, 3), w = machine.put(layer.w, {3, 5}, type);
    const Tensor y = machine.make({4, 5}, type).slice(1, 3), pre = machine.make({4, 5}, type).slice(1, 3);
    const Tensor bias = machine.put(sum({0, 0, 0, 0, 0, 0}, {9, 1, 2, 3, 4, 5}), {6}, type).slice(1, 5);
    const Reals expected = linear(Reals(layer.x.begin() + 3, layer.x.end()), layer.w, {1, 2, 3, 4, 5}, 3);
    machine.ops().linear_gelu(y, pre, x, w, bias);
    expect_close(machine.get(pre), expected, type, sum_terms(3));
    expect_gelu(machine.get(y), expected, type, 3);
  }
}

TEST(CudaLinear, NamesTheTensorOfTheWrongShapeOrType) {
  CudaMachine machine;
  const auto message = [&](DType type, Dims dims) -> std::string {
    try {
      machine.ops().linear(machine.make(dims, type), machine.make({4, 3}), machine.make({3, 6}), {});
    } catch (const std::logic_error& error) {
      return error.what();
    }
    return "nothing was thrown";
  };
  EXPECT_NE(message(DType::f32, {4, 5}).find("y (4, 5) == y (4, 6)"), std::string::npos);
  EXPECT_NE(message(DType::bf16, {4, 6}).find("y bf16 (4, 6) == y f32 (4, 6)"), std::string::npos);
  EXPECT_NE(message(DType::bf16, {2, 2, 6}).find("y bf16 (4, 6) == y f32 (4, 6)"), std::string::npos);
}

}  // namespace
}  // namespace nll::test
