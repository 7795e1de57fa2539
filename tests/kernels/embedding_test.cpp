#include "tests/kernels/reference.h"

namespace nll::test {
namespace {

struct Case {
  std::int64_t batch, time, width, position;
  float rate;
};
const Case cases[] = {{1, 1, 1, 0, 0}, {2, 5, 7, 3, 0}, {3, 4, 33, 0, 0.25f}, {1, 9, 80, 2, 0.5f}};
constexpr std::int64_t vocabulary = 11, context = 16;

Dropout dropout_of(const Case& c) { return {c.rate, 42, 77, 1000}; }

TEST(Embedding, AddsTokenAndPositionRows) {
  on_every_machine([](Machine& machine) {
    for (const Case& c : cases) {
      Random random(1);
      const Reals wte = random.normals(vocabulary * c.width), wpe = random.normals(context * c.width);
      const auto tokens = random.below(vocabulary, c.batch * c.time);
      const Tensor x = machine.make({c.batch, c.time, c.width});
      machine.ops().embedding(x, machine.put_ints(tokens, {c.batch, c.time}), machine.put(wte, {vocabulary, c.width}),
                              machine.put(wpe, {context, c.width}), c.position, dropout_of(c));
      expect_near(machine.get(x), embedding(tokens, c.time, wte, wpe, c.width, c.position, dropout_of(c)), 3);
    }
  });
}

TEST(Embedding, BackwardEqualsCentralDifferences) {
  for (const Case& c : cases) {
    Random random(2);
    Reals wte = random.normals(vocabulary * c.width), wpe = random.normals(context * c.width);
    const auto tokens = random.below(vocabulary, c.batch * c.time);
    const Reals dx = random.normals(c.batch * c.time * c.width);
    const auto loss = [&] { return dot(dx, embedding(tokens, c.time, wte, wpe, c.width, 0, dropout_of(c))); };
    const Reals expected_dwte = central_differences(wte, loss), expected_dwpe = central_differences(wpe, loss);
    const Reals before = random.normals(vocabulary * c.width), before_wpe = random.normals(context * c.width);
    on_every_machine([&](Machine& machine) {
      for (const Into into : {Into::write, Into::add}) {
        const Tensor dwte = machine.put(before, {vocabulary, c.width});
        const Tensor dwpe = machine.put(before_wpe, {context, c.width});
        machine.ops().embedding_backward(dwte, dwpe, into, machine.put(dx, {c.batch, c.time, c.width}),
                                         machine.put_ints(tokens, {c.batch, c.time}), dropout_of(c));
        expect_near(machine.get(dwte), sum(before, expected_dwte), 16);
        expect_near(machine.get(dwpe), into == Into::write ? expected_dwpe : sum(before_wpe, expected_dwpe), 16);
      }
    });
  }
}

TEST(Embedding, RefusesTokensOutsideTheTable) {
  Machine machine;
  const Tensor x = machine.make({1, 2, 4}), wte = machine.make({5, 4}), wpe = machine.make({8, 4});
  for (const std::int32_t token : {-1, 5}) {
    EXPECT_THROW(machine.ops().embedding(x, machine.put_ints({0, token}, {1, 2}), wte, wpe, 0, {}), std::logic_error);
  }
  EXPECT_THROW(machine.ops().embedding(x, machine.put_ints({0, 0}, {1, 2}), wte, wpe, 7, {}), std::logic_error);
}

// The mask of a row depends on its index in the global batch, not on the call that computes it.
TEST(Dropout, SurvivesASplitInRows) {
  on_every_machine([](Machine& machine) {
    constexpr std::int64_t time = 6, width = 13;
    const Tensor wte = machine.put(Reals(width, 1.0), {1, width}),
                 wpe = machine.put(Reals(time * width), {time, width});
    const Tensor whole = machine.make({4, time, width});
    machine.ops().embedding(whole, machine.put_ints(std::vector<std::int32_t>(4 * time), {4, time}), wte, wpe, 0,
                            {0.3f, 9, 5, 0});
    const std::vector<float> expected = machine.get(whole);
    for (std::int64_t b = 0; b < 4; ++b) {
      const Tensor part = machine.make({1, time, width});
      machine.ops().embedding(part, machine.put_ints(std::vector<std::int32_t>(time), {1, time}), wte, wpe, 0,
                              {0.3f, 9, 5, b * time});
      const std::vector<float> found = machine.get(part);
      for (std::size_t i = 0; i < found.size(); ++i) {
        ASSERT_EQ(found[i], expected[static_cast<std::size_t>(b * time * width) + i]);
      }
    }
  });
}

TEST(Dropout, KeepsTheStatedShare) {
  Machine machine;
  constexpr std::int64_t rows = 400, width = 250;
  const Tensor x = machine.make({1, rows, width});
  machine.ops().embedding(x, machine.put_ints(std::vector<std::int32_t>(rows), {1, rows}),
                          machine.put(Reals(width, 1.0), {1, width}), machine.make({rows, width}), 0, {0.2f, 3, 1, 0});
  double kept = 0;
  for (const float value : machine.get(x)) kept += value != 0 ? 1 : 0;
  // Five standard deviations of a binomial share.
  const double n = rows * width;
  EXPECT_NEAR(kept / n, 0.8, 5 * std::sqrt(0.8 * 0.2 / n));
}

}  // namespace
}  // namespace nll::test
