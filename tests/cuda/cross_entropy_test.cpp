// By-products of the head on CUDA against FP64 and against the CPU.
#include <limits>

#include "tests/cuda/head_rows.h"

namespace nll::test {
namespace {

// V around the pack, the chunk, the warp and the block.
const HeadShape shapes[] = {{1, 1, 0, 1},       {2, 1, 0, 1},    {19, 0.5f, 0, 1.25f}, {100, 1, 30, 1},
                            {257, 2, 5, 0.75f}, {1000, 1, 0, 1}, {4099, 1, 0, 1}};

// Roundings that a by-product goes through: 16 in a chunk, 9 in the butterfly, exp, and the additions of chunks.
constexpr double roundings = 32;

double largest_of(const Reals& values) {
  double largest = 0;
  for (const double value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

// u of a row in FP64.
Reals transformed(const double* logits, const HeadShape& shape) {
  const auto scale = static_cast<double>(shape.pre_scale), cap = static_cast<double>(shape.softcap);
  Reals u(logits, logits + shape.vocabulary);
  for (double& value : u) {
    value *= scale;
    if (cap != 0) value = cap * std::tanh(value / cap);
    value *= static_cast<double>(shape.inverse_temperature);
  }
  return u;
}

void expect_statistics(const HeadStatistics& found, std::size_t i, const double* logits, std::int32_t target,
                       const HeadShape& shape) {
  SCOPED_TRACE("row " + std::to_string(i));
  const HeadRow row = head_row(logits, target, shape);
  const Reals u = transformed(logits, shape);
  const bool identity = shape.pre_scale == 1 && shape.softcap == 0 && shape.inverse_temperature == 1;
  const double of_u = identity ? 0 : epsilon * 6 * largest_of(u);  // u is rounded a few times where it is not z itself
  const auto bound = [&](double value) { return epsilon * roundings * std::max(1.0, std::abs(value)) + 2 * of_u; };
  EXPECT_NEAR(found.logp[i], row.logp, bound(row.logp));
  EXPECT_NEAR(found.maximum[i], row.maximum, of_u);
  EXPECT_NEAR(found.log_denominator[i], row.log_denominator, bound(row.log_denominator));
  EXPECT_NEAR(found.entropy[i], row.entropy, bound(row.entropy) + of_u * row.entropy);
  EXPECT_NEAR(found.mean_logp[i], row.mean_logp, bound(row.mean_logp));
  EXPECT_NEAR(found.sum_p2[i], row.sum_p2, bound(row.sum_p2));
  // Rounded u may be equal where they are not quite.
  ASSERT_GE(found.argmax[i], 0);
  ASSERT_LT(found.argmax[i], shape.vocabulary);
  EXPECT_GE(u[static_cast<std::size_t>(found.argmax[i])], row.maximum - 2 * of_u);
  if (identity) {
    EXPECT_EQ(found.argmax[i], row.argmax);
    EXPECT_EQ(found.rank[i], row.rank);
  }
  const double own = u[static_cast<std::size_t>(target)];
  std::int32_t ahead = 0, not_behind = 0;
  for (const double value : u) {
    ahead += value > own + 2 * of_u ? 1 : 0;
    not_behind += value >= own - 2 * of_u ? 1 : 0;
  }
  EXPECT_GE(found.rank[i], 1 + ahead);
  EXPECT_LE(found.rank[i], not_behind);
}

TEST(CudaCrossEntropy, StatisticsEqualTheirFormulasForEveryTypeAndAlignment) {
  CudaMachine machine;
  for (const HeadShape& shape : shapes) {
    for (const DType type : number_types) {
      for (const std::int64_t alignment : {1, 64}) {  // rows of scalars, rows of packs
        SCOPED_TRACE(type_name(type) + ", V " + std::to_string(shape.vocabulary) + ", " + std::to_string(alignment));
        constexpr std::int64_t n = 5;
        const std::int64_t v = shape.vocabulary;
        const std::int64_t stored = alignment == 1 ? v + 1 + v % 2 : (v / alignment + 1) * alignment;
        Random random(1);
        const Reals logits = rounded(random.normals(n * stored, 4), type);
        std::vector<std::int32_t> targets = random.below(static_cast<std::int32_t>(v), n);
        targets[2] = ignore_index;
        HeadStatistics found(machine, n);
        const Tensor tlogits = machine.put(logits, {n, stored}, type);
        machine.ops().cross_entropy(found.tensors, tlogits, machine.put_ints(targets, {n}), shape);
        found.read(machine);
        for (std::size_t i = 0; i < n; ++i) {
          if (targets[i] == ignore_index) {
            EXPECT_EQ(found.logp[i], 0);
            EXPECT_EQ(found.maximum[i], 0);
            EXPECT_EQ(found.log_denominator[i], 0);
            EXPECT_EQ(found.entropy[i], 0);
            EXPECT_EQ(found.mean_logp[i], 0);
            EXPECT_EQ(found.sum_p2[i], 0);
            EXPECT_EQ(found.argmax[i], 0);
            EXPECT_EQ(found.rank[i], 0);
            continue;
          }
          expect_statistics(found, i, &logits[i * static_cast<std::size_t>(stored)], targets[i], shape);
        }
        EXPECT_EQ(machine.get(tlogits), logits);  // statistics alone leave the logits as they were
      }
    }
  }
}

TEST(CudaCrossEntropy, ALongRowEqualsItsFormulaAndRepeatsItsBits) {
  CudaMachine machine;
  for (const std::int64_t stored : {50304, 50257}) {
    constexpr std::int64_t n = 2, v = 50257;
    Random random(2);
    const Reals logits = random.normals(n * stored, 3);
    const std::vector<std::int32_t> targets = {50256, 17};
    const Tensor tlogits = machine.put(logits, {n, stored}), ttargets = machine.put_ints(targets, {n});
    HeadStatistics found(machine, n), again(machine, n);
    machine.ops().cross_entropy(found.tensors, tlogits, ttargets, {v, 1, 0, 1});
    machine.ops().cross_entropy(again.tensors, tlogits, ttargets, {v, 1, 0, 1});
    found.read(machine);
    for (std::size_t i = 0; i < n; ++i) {
      expect_statistics(found, i, &logits[i * static_cast<std::size_t>(stored)], targets[i], {v, 1, 0, 1});
    }
    EXPECT_EQ(found.bytes(machine), again.bytes(machine));
  }
}

TEST(CudaCrossEntropy, StatisticsEqualThoseOfTheCpu) {
  CudaMachine machine;
  Machine cpu;
  constexpr std::int64_t n = 4, v = 1000, stored = 1008;
  Random random(3);
  const Reals logits = random.normals(n * stored, 3);
  const std::vector<std::int32_t> targets = {5, ignore_index, 999, 0};
  const HeadShape shape{v, 0.5f, 10, 1.25f};
  HeadStatistics found(machine, n);
  machine.ops().cross_entropy(found.tensors, machine.put(logits, {n, stored}), machine.put_ints(targets, {n}), shape);
  found.read(machine);
  TokenStatistics expected;
  expected.logp = cpu.make({n}), expected.entropy = cpu.make({n}), expected.argmax = cpu.make({n}, DType::i32);
  cpu.ops().cross_entropy(expected, cpu.put(logits, {n, stored}), cpu.put_ints(targets, {n}), shape);
  for (std::size_t i = 0; i < n; ++i) {
    const double logp = static_cast<double>(cpu.get(expected.logp)[i]);
    EXPECT_NEAR(found.logp[i], logp, 2 * epsilon * roundings * std::max(1.0, std::abs(logp)));
    EXPECT_NEAR(found.entropy[i], static_cast<double>(cpu.get(expected.entropy)[i]), 2 * epsilon * roundings * 7);
    EXPECT_EQ(found.argmax[i], cpu.get_ints(expected.argmax)[i]);
  }
}

TEST(CudaCrossEntropy, OnlyTheStatisticsThatAreAskedForAreWritten) {
  CudaMachine machine;
  constexpr std::int64_t n = 3, v = 50;
  Random random(4);
  const Tensor logits = machine.put(random.normals(n * v), {n, v}), targets = machine.put_ints({1, 2, 3}, {n});
  HeadStatistics all(machine, n), one(machine, n);
  machine.ops().cross_entropy(all.tensors, logits, targets, {v, 1, 0, 1});
  TokenStatistics only;
  only.logp = one.tensors.logp;
  machine.ops().cross_entropy(only, logits, targets, {v, 1, 0, 1});
  machine.ops().cross_entropy({}, logits, targets, {v, 1, 0, 1});
  all.read(machine);
  one.read(machine);
  EXPECT_EQ(one.logp, all.logp);
  EXPECT_EQ(one.maximum, Reals(n));
  EXPECT_EQ(one.rank, std::vector<std::int32_t>(n));
}

// Equal maxima in one pack, in one chunk, in other chunks and in other threads.
TEST(CudaCrossEntropy, TiesAreBrokenByTheLowestIndex) {
  CudaMachine machine;
  constexpr std::int64_t v = 5000;
  for (const std::int64_t first : {0, 3, 4, 511, 512, 2047, 2049, 4090}) {
    for (const std::int64_t other : {1, 4, 512, 2048}) {
      if (first + other >= v) continue;
      Reals logits(v, -1.0);
      logits[static_cast<std::size_t>(first)] = 2;
      logits[static_cast<std::size_t>(first + other)] = 2;
      const auto target = static_cast<std::int32_t>(first + other);
      HeadStatistics found(machine, 1);
      machine.ops().cross_entropy(found.tensors, machine.put(logits, {1, v}), machine.put_ints({target}, {1}),
                                  {v, 1, 0, 1});
      found.read(machine);
      EXPECT_EQ(found.argmax[0], first);
      EXPECT_EQ(found.rank[0], 2);
      const HeadRow row = head_row(logits.data(), target, {v, 1, 0, 1});
      EXPECT_NEAR(found.logp[0], row.logp, epsilon * roundings * std::abs(row.logp));
    }
  }
  HeadStatistics flat(machine, 1);
  machine.ops().cross_entropy(flat.tensors, machine.put(Reals(v, 0.5), {1, v}), machine.put_ints({77}, {1}),
                              {v, 1, 0, 1});
  flat.read(machine);
  EXPECT_EQ(flat.argmax[0], 0);
  EXPECT_EQ(flat.rank[0], 78);
  EXPECT_NEAR(flat.entropy[0], std::log(5000.0), epsilon * roundings * 9);
}

TEST(CudaCrossEntropy, LogitsOfAnySizeKeepTheirDigits) {
  CudaMachine machine;
  constexpr std::int64_t v = 300;
  Random random(5);
  for (const double offset : {-1e4, 5e3, 1e30}) {  // the last beyond what a difference resolves: all equal
    Reals logits = random.normals(v, 2);
    for (double& value : logits) value = rounded(value + offset, DType::f32);
    HeadStatistics found(machine, 1);
    machine.ops().cross_entropy(found.tensors, machine.put(logits, {1, v}), machine.put_ints({7}, {1}), {v, 1, 0, 1});
    found.read(machine);
    expect_statistics(found, 0, logits.data(), 7, {v, 1, 0, 1});
  }
  // One far above all others: e^(u - m) is 0, and so is the entropy, while logp is exact.
  Reals logits(v, -3e38);
  logits[40] = 3e37;
  HeadStatistics found(machine, 1);
  machine.ops().cross_entropy(found.tensors, machine.put(logits, {1, v}), machine.put_ints({40}, {1}), {v, 1, 0, 1});
  found.read(machine);
  EXPECT_EQ(found.logp[0], 0);
  EXPECT_EQ(found.entropy[0], 0);
  EXPECT_EQ(found.argmax[0], 40);
  EXPECT_EQ(found.rank[0], 1);
}

TEST(CudaCrossEntropy, LogitsOfMinusInfinityAreImpossibleTokens) {
  CudaMachine machine;
  const double minus_infinity = -std::numeric_limits<double>::infinity();
  constexpr std::int64_t v = 4000;
  for (const std::int64_t stored : {4000, 4001}) {
    Random random(6);
    Reals logits(static_cast<std::size_t>(stored), minus_infinity), possible = random.normals(5);
    for (std::size_t j = 0; j < 5; ++j) logits[777 * (j + 1)] = possible[j];
    HeadStatistics found(machine, 1);
    machine.ops().cross_entropy(found.tensors, machine.put(logits, {1, stored}), machine.put_ints({1554}, {1}),
                                {v, 1, 0, 1});
    found.read(machine);
    const HeadRow row = head_row(possible.data(), 1, {5, 1, 0, 1});
    EXPECT_NEAR(found.logp[0], row.logp, epsilon * roundings * std::max(1.0, std::abs(row.logp)));
    EXPECT_NEAR(found.entropy[0], row.entropy, epsilon * roundings * 2);
    EXPECT_NEAR(found.sum_p2[0], row.sum_p2, epsilon * roundings);
    EXPECT_EQ(found.mean_logp[0], minus_infinity);
    EXPECT_EQ(found.argmax[0], 777 * (row.argmax + 1));
    EXPECT_EQ(found.rank[0], row.rank);
    machine.ops().cross_entropy(found.tensors, machine.put(logits, {1, stored}), machine.put_ints({0}, {1}),
                                {v, 1, 0, 1});
    found.read(machine);
    EXPECT_EQ(found.logp[0], minus_infinity);
  }
}

TEST(CudaCrossEntropy, ANonFiniteLogitGivesANonFiniteLogProbability) {
  CudaMachine machine;
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    for (const std::int64_t where : {0, 5, 19, 36}) {
      for (const DType type : number_types) {
        Reals logits(40);
        logits[static_cast<std::size_t>(where)] = bad;
        const Tensor logp = machine.make({1}), argmax = machine.make({1}, DType::i32);
        TokenStatistics statistics;
        statistics.logp = logp, statistics.argmax = argmax;
        machine.ops().cross_entropy(statistics, machine.put(logits, {1, 40}, type), machine.put_ints({5}, {1}),
                                    {37, 1, 0, 1});
        EXPECT_FALSE(std::isfinite(machine.get(logp)[0])) << bad << " at " << where;
        EXPECT_GE(machine.get_ints(argmax)[0], 0);
        EXPECT_LT(machine.get_ints(argmax)[0], 37);
      }
    }
  }
}

TEST(CudaCrossEntropy, ATargetOutsideTheVocabularyGivesNoNumber) {
  CudaMachine machine;
  constexpr std::int64_t v = 7, stored = 9;
  for (const std::int32_t target : {-1, 7, 8, 9, 2000000000, -2000000000}) {
    Random random(7);
    const Reals logits = random.normals(2 * stored);
    HeadStatistics found(machine, 2);
    const Tensor tlogits = machine.put(logits, {2, stored}), targets = machine.put_ints({target, 3}, {2});
    machine.ops().cross_entropy_backward(found.tensors, tlogits, tlogits, targets,
                                         machine.put({-1, 0, 0, 0, 0, 0, 0, 0}, {2, 4}), {}, {v, 1, 0, 1});
    found.read(machine);
    EXPECT_TRUE(std::isnan(found.logp[0])) << target;
    EXPECT_TRUE(std::isfinite(found.logp[1]));
    const Reals gradient = machine.get(tlogits);
    for (std::size_t j = 0; j < static_cast<std::size_t>(stored); ++j) {
      EXPECT_EQ(std::isnan(gradient[j]), j < static_cast<std::size_t>(v)) << j;
      EXPECT_EQ(gradient[static_cast<std::size_t>(stored) + j], 0);
    }
  }
}

TEST(CudaCrossEntropy, NoRowsAreNoWork) {
  CudaMachine machine;
  machine.ops().cross_entropy({}, machine.make({0, 8}), machine.make({0}, DType::i32), {8, 1, 0, 1});
  machine.device().synchronize();
  EXPECT_THROW(machine.ops().cross_entropy({}, machine.make({1, 8}), machine.put_ints({0}, {1}), {9, 1, 0, 1}),
               std::logic_error);
}

}  // namespace
}  // namespace nll::test
