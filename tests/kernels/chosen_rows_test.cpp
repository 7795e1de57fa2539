// Rows by index.
#include "tests/kernels/machine.h"

namespace nll::test {
namespace {

constexpr std::int64_t n = 37, width = 19;

// Neighbours, gaps, the first row and the last.
const std::vector<std::int32_t> chosen = {0, 1, 5, 6, 7, 20, 31, 36};
const auto m = static_cast<std::int64_t>(chosen.size());

float at(const std::vector<float>& matrix, std::int64_t row, std::int64_t column) {
  return matrix[static_cast<std::size_t>(row * width + column)];
}

TEST(ChosenRows, GatheredRowsAreThoseOfTheirIndexInAnyOrder) {
  on_every_machine([](Machine& machine) {
    const std::vector<std::int32_t> rows = {36, 0, 5, 5, 17};
    const Tensor in = machine.put(Random(1).normals(n * width), {n, width}), out = machine.make({5, width});
    machine.ops().gather_rows(out, in, machine.put_ints(rows, {5}));
    const std::vector<float> from = machine.get(in), found = machine.get(out);
    for (std::int64_t i = 0; i < 5; ++i) {
      for (std::int64_t c = 0; c < width; ++c)
        ASSERT_EQ(at(found, i, c), at(from, rows[static_cast<std::size_t>(i)], c));
    }
  });
}

TEST(ChosenRows, ScatteredRowsAreWrittenBetweenZerosOrAdded) {
  on_every_machine([](Machine& machine) {
    const Tensor in = machine.put(Random(2).normals(m * width), {m, width});
    const Reals before = Random(3).normals(n * width);
    const Tensor rows = machine.put_ints(chosen, {m});
    for (const Into into : {Into::write, Into::add}) {
      const Tensor out = machine.put(before, {n, width});
      const std::vector<float> old = machine.get(out), from = machine.get(in);
      machine.ops().scatter_rows(out, into, in, rows);
      const std::vector<float> found = machine.get(out);
      std::int64_t next = 0;
      for (std::int64_t row = 0; row < n; ++row) {
        const bool hit = next < m && chosen[static_cast<std::size_t>(next)] == row;
        for (std::int64_t c = 0; c < width; ++c) {
          const float kept = into == Into::add ? at(old, row, c) : 0;
          ASSERT_EQ(at(found, row, c), hit ? kept + at(from, next, c) : kept) << row;
        }
        next += hit ? 1 : 0;
      }
    }
  });
}

TEST(ChosenRows, MayBeNone) {
  Machine machine;
  const Tensor all = machine.put(Random(4).normals(n * width), {n, width});
  const Tensor none = machine.make({0, width}), rows = machine.make({0}, DType::i32);
  const std::vector<float> before = machine.get(all);
  machine.ops().gather_rows(none, all, rows);
  machine.ops().scatter_rows(all, Into::add, none, rows);
  EXPECT_EQ(machine.get(all), before);
  machine.ops().scatter_rows(all, Into::write, none, rows);
  for (const float value : machine.get(all)) ASSERT_EQ(value, 0.0f);
}

TEST(ChosenRows, ThatDoNotExistOrAscendAreRefused) {
  Machine machine;
  const Tensor all = machine.make({n, width}), two = machine.make({2, width});
  const auto rows = [&](std::int32_t a, std::int32_t b) { return machine.put_ints({a, b}, {2}); };
  EXPECT_THROW(machine.ops().gather_rows(two, all, rows(0, n)), std::logic_error);
  EXPECT_THROW(machine.ops().gather_rows(two, all, rows(-1, 0)), std::logic_error);
  EXPECT_THROW(machine.ops().scatter_rows(all, Into::add, two, rows(4, 4)), std::logic_error);
  EXPECT_THROW(machine.ops().scatter_rows(all, Into::write, two, rows(4, 3)), std::logic_error);
  EXPECT_THROW(machine.ops().scatter_rows(all, Into::write, two, rows(4, n)), std::logic_error);
}

}  // namespace
}  // namespace nll::test
