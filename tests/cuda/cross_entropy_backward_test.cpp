// The gradient of the head on CUDA against FP64 and against the CPU.
#include "tests/cuda/head_rows.h"

namespace nll::test {
namespace {

struct Types {
  DType logits, dlogits;
};
const Types type_pairs[] = {{DType::f32, DType::f32},
                            {DType::f32, DType::bf16},
                            {DType::f32, DType::f16},
                            {DType::bf16, DType::bf16},
                            {DType::f16, DType::f16}};

// Some rows of logits, targets and coefficients: row 1 is ignored, the coefficients of row 2 are zero, row 3 is plain.
struct Rows {
  static constexpr std::int64_t n = 5;
  HeadShape shape;
  std::int64_t stored;
  Reals logits, coefficients;
  std::vector<std::int32_t> targets;

  Rows(const HeadShape& head, std::int64_t columns, DType type, unsigned seed) : shape(head), stored(columns) {
    Random random(seed);
    logits = rounded(random.normals(n * stored, 2), type);
    targets = random.below(static_cast<std::int32_t>(shape.vocabulary), n);
    targets[0] = static_cast<std::int32_t>(shape.vocabulary - 1);
    targets[1] = ignore_index;
    coefficients = random.normals(n * 4);
    for (std::size_t i = 8; i < 12; ++i) coefficients[i] = 0;
    coefficients[12] = -0.75, coefficients[13] = coefficients[14] = coefficients[15] = 0;
  }
  Reals gradient(double loss_scale) const {
    Reals all(logits.size());
    for (std::size_t i = 0; i < n; ++i) {
      if (targets[i] == ignore_index) continue;
      const std::size_t at = i * static_cast<std::size_t>(stored);
      const Reals row = head_gradient(&logits[at], targets[i], shape, &coefficients[4 * i]);
      for (std::size_t j = 0; j < row.size(); ++j) all[at + j] = loss_scale * row[j];
    }
    return all;
  }
};

// Each element is p (a few terms) + ...: `terms` FP32 roundings of parts that are as large as the coefficients, and the
// rounding to the type it is stored in. The roundings of u, up to `largest` logits, go through exp.
void expect_gradient(const Reals& found, const Reals& expected, DType type, double parts, double largest) {
  ASSERT_EQ(found.size(), expected.size());
  const double bound = epsilon * (64 + 6 * largest) * parts + smallest_of(type);
  for (std::size_t i = 0; i < found.size(); ++i) {
    ASSERT_NEAR(found[i], expected[i], bound + unit_of(type) * std::abs(expected[i])) << "element " << i;
  }
}

constexpr std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

TEST(CudaCrossEntropyBackward, EqualsItsFormulaForEveryPairOfTypesAndAlignment) {
  CudaMachine machine;
  const HeadShape shapes[] = {{1, 1, 0, 1},    {2, 1, 0, 1},       {19, 0.5f, 0, 1.25f},
                              {100, 1, 30, 1}, {257, 2, 5, 0.75f}, {2100, 1, 0, 1}};
  for (const HeadShape& shape : shapes) {
    for (const Types& types : type_pairs) {
      for (const std::int64_t alignment : {1, 64}) {
        const std::int64_t v = shape.vocabulary;
        const std::int64_t stored = alignment == 1 ? v + 1 + v % 2 : (v / alignment + 1) * alignment;
        SCOPED_TRACE(type_name(types.logits) + " to " + type_name(types.dlogits) + ", V " + std::to_string(v) +
                     ", stored " + std::to_string(stored));
        const Rows rows(shape, stored, types.logits, 1);
        constexpr double loss_scale = 8;
        const Reals expected = rows.gradient(loss_scale);
        const Tensor logits = machine.put(rows.logits, {Rows::n, stored}, types.logits);
        const Tensor apart = machine.put(Reals(rows.logits.size(), 3.0), {Rows::n, stored}, types.dlogits);
        HeadStatistics found(machine, Rows::n), alone(machine, Rows::n);
        const Tensor targets = machine.put_ints(rows.targets, {Rows::n});
        const Tensor coefficients = machine.put(rows.coefficients, {Rows::n, 4});
        const Tensor scale = machine.put({loss_scale}, {1});
        machine.ops().cross_entropy(alone.tensors, logits, targets, shape);
        machine.ops().cross_entropy_backward(found.tensors, apart, logits, targets, coefficients, scale, shape);
        EXPECT_EQ(found.bytes(machine), alone.bytes(machine));  // with and without a gradient
        EXPECT_EQ(machine.get(logits), rows.logits);
        const Reals gradient = machine.get(apart);
        expect_gradient(gradient, expected, types.dlogits, loss_scale * 8, 10);
        for (std::int64_t i = 0; i < Rows::n; ++i) {
          for (std::int64_t j = 0; j < stored; ++j) {
            if (j >= v || i == 1 || i == 2) {
              ASSERT_EQ(gradient[at(i * stored + j)], 0) << i << ", " << j;
            }
          }
        }
        if (types.logits == types.dlogits) {  // in place
          const std::vector<std::uint8_t> bytes = machine.get_bytes(apart);
          machine.ops().cross_entropy_backward({}, logits, logits, targets, coefficients, scale, shape);
          EXPECT_EQ(machine.get_bytes(logits), bytes);
        }
      }
    }
  }
}

TEST(CudaCrossEntropyBackward, ALongRowEqualsItsFormulaAndRepeatsItsBitsWhateverElseIsComputed) {
  CudaMachine machine;
  constexpr std::int64_t v = 50257;
  struct Case {
    std::int64_t stored;
    Types types;
  };
  for (const Case& c : {Case{50304, {DType::f32, DType::bf16}}, Case{50257, {DType::f32, DType::f32}}}) {
    const HeadShape shape{v, 1, 0, 1};
    Random random(2);
    const Reals logits = random.normals(2 * c.stored, 3), g = {-0.9, 0.25, -0.1, 0.3};
    const std::vector<std::int32_t> targets = {50256, 123};
    const Reals both = {g[0], g[1], g[2], g[3], g[0], g[1], g[2], g[3]};
    const Tensor tlogits = machine.put(logits, {2, c.stored});
    const Tensor gradient = machine.make({2, c.stored}, c.types.dlogits);
    machine.ops().cross_entropy_backward({}, gradient, tlogits, machine.put_ints(targets, {2}),
                                         machine.put(both, {2, 4}), {}, shape);
    Reals row = head_gradient(&logits[at(c.stored)], targets[1], shape, g.data());
    row.resize(at(c.stored));
    const Tensor second = gradient.slice(1, 1);
    expect_gradient(machine.get(second), row, c.types.dlogits, 1, 15);
    // The same row by itself.
    const Tensor alone = machine.make({1, c.stored}, c.types.dlogits);
    machine.ops().cross_entropy_backward({}, alone, tlogits.slice(1, 1), machine.put_ints({targets[1]}, {1}),
                                         machine.put(g, {1, 4}), {}, shape);
    EXPECT_EQ(machine.get_bytes(alone), machine.get_bytes(second));
  }
}

TEST(CudaCrossEntropyBackward, WithoutACapTheGradientOfARowSumsToTheLseCoefficient) {
  CudaMachine machine;
  constexpr std::int64_t v = 4099;
  Random random(3);
  for (const double lse : {0.0, 0.25}) {
    const Tensor logits = machine.put(random.normals(v, 3), {1, v});
    machine.ops().cross_entropy_backward({}, logits, logits, machine.put_ints({123}, {1}),
                                         machine.put({-0.9, lse, -0.1, 0.5}, {1, 4}), {}, {v, 1, 0, 1});
    double total = 0;
    for (const double value : machine.get(logits)) total += value;
    EXPECT_NEAR(total, lse, 64 * epsilon);
  }
}

// The maximum is known as such, whatever was done to its logit: 1 - p does not drown in a rounding of it.
TEST(CudaCrossEntropyBackward, ACertainTargetKeepsItsDigitsBehindATransform) {
  CudaMachine machine;
  constexpr std::int64_t v = 200;
  for (const HeadShape& shape : {HeadShape{v, 0.7f, 0, 1.1f}, HeadShape{v, 0.7f, 30, 1.1f}}) {
    Random random(6);
    Reals logits = random.normals(v);
    logits[150] = 30;
    const Reals g = {-1, 0, 0, 0};
    const HeadRow row = head_row(logits.data(), 150, shape);
    const Reals expected = head_gradient(logits.data(), 150, shape, g.data());
    ASSERT_LT(-row.logp, 1e-5);
    HeadStatistics found(machine, 1);
    const Tensor tlogits = machine.put(logits, {1, v});
    machine.ops().cross_entropy_backward(found.tensors, tlogits, tlogits, machine.put_ints({150}, {1}),
                                         machine.put(g, {1, 4}), {}, shape);
    found.read(machine);
    // Roundings of u, at most `maximum`, are relative errors of e^u.
    const double relative = epsilon * (32 + 12 * row.maximum);
    EXPECT_NEAR(found.logp[0], row.logp, relative * -row.logp);
    EXPECT_NEAR(machine.get(tlogits)[150], expected[150], relative * std::abs(expected[150]));
  }
}

TEST(CudaCrossEntropyBackward, AnEmptyLossScaleIsOne) {
  CudaMachine machine;
  const Rows rows({70, 1, 0, 1}, 72, DType::f32, 4);
  const Tensor targets = machine.put_ints(rows.targets, {Rows::n});
  const Tensor coefficients = machine.put(rows.coefficients, {Rows::n, 4});
  const auto gradient = [&](Tensor scale) {
    const Tensor logits = machine.put(rows.logits, {Rows::n, 72});
    machine.ops().cross_entropy_backward({}, logits, logits, targets, coefficients, scale, rows.shape);
    return machine.get(logits);
  };
  const Reals plain = gradient({});
  EXPECT_EQ(plain, gradient(machine.put({1}, {1})));
  Reals scaled = gradient(machine.put({1024}, {1}));  // a power of two changes no digit
  for (double& value : scaled) value /= 1024;
  EXPECT_EQ(plain, scaled);
}

TEST(CudaCrossEntropyBackward, EqualsTheCpu) {
  CudaMachine machine;
  Machine cpu;
  for (const HeadShape& shape : {HeadShape{1000, 1, 0, 1}, HeadShape{129, 0.5f, 3, 1.25f}}) {
    const Rows rows(shape, shape.vocabulary + 7, DType::f32, 5);
    const Tensor found = machine.put(rows.logits, {Rows::n, rows.stored});
    machine.ops().cross_entropy_backward({}, found, found, machine.put_ints(rows.targets, {Rows::n}),
                                         machine.put(rows.coefficients, {Rows::n, 4}), machine.put({2}, {1}), shape);
    const Tensor expected = cpu.put(rows.logits, {Rows::n, rows.stored});
    cpu.ops().cross_entropy_backward({}, expected, expected, cpu.put_ints(rows.targets, {Rows::n}),
                                     cpu.put(rows.coefficients, {Rows::n, 4}), cpu.put({2}, {1}), shape);
    const std::vector<float> values = cpu.get(expected);
    expect_gradient(machine.get(found), Reals(values.begin(), values.end()), DType::f32, 16, 10);
  }
}

// An impossible token gets no gradient, and spoils nobody else's.
TEST(CudaCrossEntropyBackward, LogitsOfMinusInfinityGetNoGradient) {
  CudaMachine machine;
  Reals logits(130, -INFINITY);
  logits[3] = 1, logits[60] = 2, logits[129] = 0;
  const Reals g = {-1, 0.5, 0, 0.25}, possible = {1, 2, 0};
  const Tensor tlogits = machine.put(logits, {1, 130});
  machine.ops().cross_entropy_backward({}, tlogits, tlogits, machine.put_ints({60}, {1}), machine.put(g, {1, 4}), {},
                                       {130, 1, 0, 1});
  const Reals row = head_gradient(possible.data(), 1, {3, 1, 0, 1}, g.data());
  Reals expected(130);
  expected[3] = row[0], expected[60] = row[1], expected[129] = row[2];
  expect_gradient(machine.get(tlogits), expected, DType::f32, 1, 0);
}

TEST(CudaCrossEntropyBackward, RefusesTypesThatNeverMeet) {
  CudaMachine machine;
  const Tensor halves = machine.make({1, 8}, DType::f16), targets = machine.put_ints({0}, {1});
  const Tensor g = machine.make({1, 4});
  EXPECT_THROW(
      machine.ops().cross_entropy_backward({}, machine.make({1, 8}, DType::bf16), halves, targets, g, {}, {8, 1, 0, 1}),
      std::logic_error);
  EXPECT_THROW(machine.ops().cross_entropy_backward({}, machine.make({1, 7}), machine.make({1, 8}), targets, g, {},
                                                    {7, 1, 0, 1}),
               std::logic_error);
}

}  // namespace
}  // namespace nll::test
