// Rows by index, in every type.
#include <gtest/gtest.h>

#include "tests/cuda/machine.h"

namespace nll::test {
namespace {

struct Case {
  std::int64_t n, width;
  std::vector<std::int32_t> chosen;
};
// Widths with and without 16-byte accesses; more rows than a block has warps.
const std::vector<Case> cases = {
    {1, 1, {0}}, {9, 7, {0, 8}}, {40, 24, {1, 2, 3, 19, 38, 39}}, {5, 520, {0, 1, 2, 3, 4}}};

void for_every_case(const std::function<void(CudaMachine&, const Case&, DType, std::int64_t m)>& body) {
  CudaMachine machine;
  for (const DType type : number_types) {
    for (const Case& c : cases) {
      SCOPED_TRACE(type_name(type) + ", " + std::to_string(c.n) + " rows of " + std::to_string(c.width));
      body(machine, c, type, static_cast<std::int64_t>(c.chosen.size()));
    }
  }
}

// Row i of the result is row from[i] of `in`, or of `other` where that is -1.
Reals picked(const Reals& in, const std::vector<std::int32_t>& from, const Reals& other, std::int64_t width) {
  Reals out;
  for (std::size_t i = 0; i < from.size(); ++i) {
    const Reals& source = from[i] < 0 ? other : in;
    const auto begin = source.begin() + (from[i] < 0 ? static_cast<std::int64_t>(i) : from[i]) * width;
    out.insert(out.end(), begin, begin + width);
  }
  return out;
}

TEST(CudaChosenRows, GatheredRowsAreThoseOfTheirIndex) {
  for_every_case([](CudaMachine& machine, const Case& c, DType type, std::int64_t m) {
    const Reals in = rounded(Random(1).normals(c.n * c.width), type);
    const Tensor out = machine.poisoned({m, c.width}, type);
    machine.ops().gather_rows(out, machine.put(in, {c.n, c.width}, type), machine.put_ints(c.chosen, {m}));
    EXPECT_EQ(machine.get(out), picked(in, c.chosen, {}, c.width));
  });
}

TEST(CudaChosenRows, ScatteredRowsAreWrittenBetweenZerosOrAdded) {
  for_every_case([](CudaMachine& machine, const Case& c, DType type, std::int64_t m) {
    const Reals in = rounded(Random(2).normals(m * c.width), type);
    const Reals before = rounded(Random(3).normals(c.n * c.width), type);
    std::vector<std::int32_t> from(static_cast<std::size_t>(c.n), -1);
    for (std::int32_t i = 0; i < m; ++i) from[static_cast<std::size_t>(c.chosen[static_cast<std::size_t>(i)])] = i;
    const Reals spread = picked(in, from, Reals(before.size()), c.width);
    const Tensor few = machine.put(in, {m, c.width}, type), rows = machine.put_ints(c.chosen, {m});
    const Tensor written = machine.poisoned({c.n, c.width}, type), added = machine.put(before, {c.n, c.width}, type);
    machine.ops().scatter_rows(written, Into::write, few, rows);
    machine.ops().scatter_rows(added, Into::add, few, rows);
    EXPECT_EQ(machine.get(written), spread);
    Reals expected = sum(before, spread);
    for (double& value : expected) value = static_cast<double>(static_cast<float>(value));
    EXPECT_EQ(machine.get(added), rounded(expected, type));
  });
}

TEST(CudaChosenRows, MayBeNone) {
  CudaMachine machine;
  const Tensor all = machine.put(Random(4).normals(6), {2, 3}), none = machine.make({1, 3}).slice(0, 0);
  const Tensor rows = machine.put_ints({0}, {1}).slice(0, 0);
  const Reals before = machine.get(all);
  machine.ops().gather_rows(none, all, rows);
  machine.ops().scatter_rows(all, Into::add, none, rows);
  EXPECT_EQ(machine.get(all), before);
  machine.ops().scatter_rows(all, Into::write, none, rows);
  EXPECT_EQ(machine.get(all), Reals(6));
}

TEST(CudaChosenRows, ThatDoNotExistAreGatheredAsNanAndScatteredNowhere) {
  CudaMachine machine;
  const Tensor all = machine.put({1, 2}, {2, 1}), two = machine.put({3, 4}, {2, 1}), out = machine.make({2, 1});
  const Tensor rows = machine.put_ints({1, 2}, {2});
  machine.ops().gather_rows(out, all, rows);
  EXPECT_EQ(machine.get(out)[0], 2);
  EXPECT_TRUE(std::isnan(machine.get(out)[1]));
  machine.ops().scatter_rows(all, Into::add, two, rows);
  EXPECT_EQ(machine.get(all), (Reals{1, 5}));
}

}  // namespace
}  // namespace nll::test
