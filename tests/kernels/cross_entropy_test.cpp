#include <limits>

#include "tests/kernels/reference.h"

namespace nll::test {
namespace {

struct Statistics {
  TokenStatistics tensors;
  std::vector<float> logp, maximum, log_denominator, entropy, mean_logp, sum_p2;
  std::vector<std::int32_t> argmax, rank;

  Statistics(Machine& machine, std::int64_t n) {
    for (Tensor* tensor : {&tensors.logp, &tensors.maximum, &tensors.log_denominator, &tensors.entropy,
                           &tensors.mean_logp, &tensors.sum_p2}) {
      *tensor = machine.make({n});
    }
    tensors.argmax = machine.make({n}, DType::i32);
    tensors.rank = machine.make({n}, DType::i32);
  }
  void read(Machine& machine) {
    logp = machine.get(tensors.logp), maximum = machine.get(tensors.maximum);
    log_denominator = machine.get(tensors.log_denominator), entropy = machine.get(tensors.entropy);
    mean_logp = machine.get(tensors.mean_logp), sum_p2 = machine.get(tensors.sum_p2);
    argmax = machine.get_ints(tensors.argmax), rank = machine.get_ints(tensors.rank);
  }
};

const HeadShape shapes[] = {{1, 1, 0, 1},    {3, 1, 0, 1},        {50, 0.5f, 0, 1.25f},
                            {129, 1, 30, 1}, {1000, 2, 5, 0.75f}, {5003, 1, 0, 1}};

TEST(CrossEntropy, StatisticsEqualTheirFormulas) {
  for (const HeadShape& shape : shapes) {
    constexpr std::int64_t n = 5;
    const std::int64_t v = shape.vocabulary, stored = v + 3;
    Random random(1);
    const Reals logits = random.normals(n * stored, 4);
    std::vector<std::int32_t> targets = random.below(static_cast<std::int32_t>(v), n);
    targets[2] = ignore_index;
    on_every_machine([&](Machine& machine) {
      Statistics found(machine, n);
      const Tensor tlogits = machine.put(logits, {n, stored});
      machine.ops().cross_entropy(found.tensors, tlogits, machine.put_ints(targets, {n}), shape);
      found.read(machine);
      for (std::size_t i = 0; i < n; ++i) {
        HeadRow row;
        if (targets[i] != ignore_index)
          row = head_row(&logits[i * static_cast<std::size_t>(stored)], targets[i], shape);
        const double bound = 1e-6 * std::max(1.0, std::abs(row.logp));
        EXPECT_NEAR(found.logp[i], row.logp, bound);
        EXPECT_NEAR(found.maximum[i], row.maximum, bound * 4);  // of size 20; rounded three times
        EXPECT_NEAR(found.log_denominator[i], row.log_denominator, bound);
        EXPECT_NEAR(found.entropy[i], row.entropy, bound * 4);
        EXPECT_NEAR(found.mean_logp[i], row.mean_logp, 1e-6 * std::max(1.0, std::abs(row.mean_logp)));
        EXPECT_NEAR(found.sum_p2[i], row.sum_p2, 2e-6);
        EXPECT_EQ(found.argmax[i], row.argmax);
        EXPECT_EQ(found.rank[i], row.rank);
      }
      expect_near(machine.get(tlogits), logits, 0);  // statistics alone leave the logits as they were
    });
  }
}

TEST(CrossEntropy, BackwardEqualsCentralDifferences) {
  for (const HeadShape& shape : shapes) {
    constexpr std::int64_t n = 4;
    const std::int64_t v = shape.vocabulary, stored = v + 5;
    if (v > 1000) continue;
    Random random(2);
    Reals logits = random.normals(n * stored, 2);
    std::vector<std::int32_t> targets = random.below(static_cast<std::int32_t>(v), n);
    targets[1] = ignore_index;
    Reals coefficients = random.normals(n * 4);
    for (std::size_t i = 8; i < 12; ++i) coefficients[i] = 0;  // row 2 has no gradient
    const auto row_loss = [&](std::size_t i) {
      const HeadRow row = head_row(&logits[i * static_cast<std::size_t>(stored)], targets[i], shape);
      const double* c = &coefficients[4 * i];
      return c[0] * row.logp + c[1] * (row.maximum + row.log_denominator) + c[2] * row.mean_logp + c[3] * row.entropy;
    };
    Reals expected(logits.size());
    for (std::size_t i = 0; i < n; ++i) {
      if (targets[i] == ignore_index) continue;
      for (std::size_t j = 0; j < static_cast<std::size_t>(v); ++j) {
        double& z = logits[i * static_cast<std::size_t>(stored) + j];
        const double at = z, step = 1e-5;
        z = at + step;
        const double above = row_loss(i);
        z = at - step;
        const double below = row_loss(i);
        z = at;
        expected[i * static_cast<std::size_t>(stored) + j] = (above - below) / (2 * step);
      }
    }
    on_every_machine([&](Machine& machine) {
      Statistics found(machine, n);
      const Tensor tlogits = machine.put(logits, {n, stored});
      machine.ops().cross_entropy_backward(found.tensors, tlogits, tlogits, machine.put_ints(targets, {n}),
                                           machine.put(coefficients, {n, 4}), {}, shape);
      const std::vector<float> gradient = machine.get(tlogits);
      expect_near(gradient, expected, 64, 1);
      for (std::int64_t i = 0; i < n; ++i) {
        for (std::int64_t j = 0; j < stored; ++j) {
          if (j >= v || i == 1 || i == 2) {
            ASSERT_EQ(gradient[static_cast<std::size_t>(i * stored + j)], 0.0f);
          }
        }
      }
      // The same statistics with and without the gradient.
      Statistics alone(machine, n);
      machine.ops().cross_entropy(alone.tensors, machine.put(logits, {n, stored}), machine.put_ints(targets, {n}),
                                  shape);
      found.read(machine);
      alone.read(machine);
      EXPECT_EQ(found.logp, alone.logp);
      EXPECT_EQ(found.entropy, alone.entropy);
      EXPECT_EQ(found.rank, alone.rank);
    });
  }
}

TEST(CrossEntropy, WithoutACapTheGradientOfARowSumsToTheLseCoefficient) {
  on_every_machine([](Machine& machine) {
    constexpr std::int64_t v = 50257;
    Random random(3);
    const Reals logits = random.normals(v, 3);
    const Tensor tlogits = machine.put(logits, {1, v});
    machine.ops().cross_entropy_backward({}, tlogits, tlogits, machine.put_ints({123}, {1}),
                                         machine.put({-0.9, 0.25, -0.1, 0}, {1, 4}), {}, {v, 1, 0, 1});
    double total = 0;
    for (const float value : machine.get(tlogits)) total += static_cast<double>(value);
    EXPECT_NEAR(total, 0.25, 1e-6);
  });
}

TEST(CrossEntropy, ALossScaleMultipliesTheGradientAndLeavesTheRest) {
  Machine machine;
  Random random(7);
  const Reals logits = random.normals(3 * 19);
  const Tensor targets = machine.put_ints({4, 18, 0}, {3}), coefficients = machine.put(random.normals(12), {3, 4});
  const Tensor plain = machine.put(logits, {3, 19}), scaled = machine.make({3, 19}),
               input = machine.put(logits, {3, 19});
  Statistics first(machine, 3), second(machine, 3);
  machine.ops().cross_entropy_backward(first.tensors, plain, plain, targets, coefficients, {}, {19, 1, 0, 1});
  machine.ops().cross_entropy_backward(second.tensors, scaled, input, targets, coefficients, machine.put({1024}, {1}),
                                       {19, 1, 0, 1});
  std::vector<float> expected = machine.get(plain);
  for (float& value : expected) value *= 1024;  // exact
  EXPECT_EQ(machine.get(scaled), expected);
  EXPECT_EQ(machine.get(input), std::vector<float>(logits.begin(), logits.end()));
  first.read(machine);
  second.read(machine);
  EXPECT_EQ(first.logp, second.logp);
}

TEST(CrossEntropy, ANonFiniteLogitGivesANonFiniteLogProbability) {
  on_every_machine([](Machine& machine) {
    for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
      for (const std::int64_t where : {0, 19, 36}) {
        Reals logits(37);
        logits[static_cast<std::size_t>(where)] = bad;
        const Tensor logp = machine.make({1});
        TokenStatistics statistics;
        statistics.logp = logp;
        machine.ops().cross_entropy(statistics, machine.put(logits, {1, 37}), machine.put_ints({5}, {1}),
                                    {37, 1, 0, 1});
        EXPECT_FALSE(std::isfinite(machine.get(logp)[0])) << bad << " at " << where;
      }
    }
  });
}

TEST(CrossEntropy, RefusesTargetsOutsideTheVocabulary) {
  Machine machine;
  for (const std::int32_t target : {-1, 7}) {
    EXPECT_THROW(machine.ops().cross_entropy({}, machine.make({1, 9}), machine.put_ints({target}, {1}), {7, 1, 0, 1}),
                 std::logic_error);
  }
}

TEST(Head, ProductsAndTheirBackwardEqualCentralDifferences) {
  constexpr std::int64_t n = 6, v = 70, width = 9;
  Random random(4);
  Reals h = random.normals(n * width), wte = random.normals(v * width);
  const Reals dlogits = random.normals(n * v), before = random.normals(v * width);
  const auto logits = [&] {
    Reals z(n * v);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < v; ++j) {
        for (std::size_t c = 0; c < width; ++c) z[i * v + j] += h[i * width + c] * wte[j * width + c];
      }
    }
    return z;
  };
  const Reals expected = logits();
  const auto loss = [&] { return dot(dlogits, logits()); };
  const Reals dh = central_differences(h, loss), dwte = central_differences(wte, loss);
  on_every_machine([&](Machine& machine) {
    const Tensor z = machine.make({n, v}), th = machine.put(h, {n, width}), twte = machine.put(wte, {v, width});
    machine.ops().head_logits(z, th, twte);
    expect_near(machine.get(z), expected, 24);
    for (const Into into : {Into::write, Into::add}) {
      const Tensor tdh = machine.make({n, width}), tdwte = machine.put(before, {v, width});
      machine.ops().head_backward(tdh, tdwte, into, machine.put(dlogits, {n, v}), th, twte);
      expect_near(machine.get(tdh), dh, 48);
      expect_near(machine.get(tdwte), into == Into::add ? sum(before, dwte) : dwte, 32);
    }
  });
}

// The gradient of h with a vocabulary that is long enough to be cut, against sums in FP64.
TEST(Head, BackwardOverALongVocabularyEqualsItsFormula) {
  constexpr std::size_t n = 26, v = 8200, width = 5;
  Random random(5);
  const Reals wte = random.normals(v * width), dlogits = random.normals(n * v), h = random.normals(n * width);
  Reals dh(n * width), dwte(v * width);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < v; ++j) {
      for (std::size_t c = 0; c < width; ++c) {
        dh[i * width + c] += dlogits[i * v + j] * wte[j * width + c];
        dwte[j * width + c] += dlogits[i * v + j] * h[i * width + c];
      }
    }
  }
  on_every_machine([&](Machine& machine) {
    const Tensor tdh = machine.make({n, width}), tdwte = machine.make({v, width});
    machine.ops().head_backward(tdh, tdwte, Into::write, machine.put(dlogits, {n, v}), machine.put(h, {n, width}),
                                machine.put(wte, {v, width}));
    expect_near(machine.get(tdh), dh, 2 * std::sqrt(static_cast<double>(v)));
    expect_near(machine.get(tdwte), dwte, 32);
  });
}

}  // namespace
}  // namespace nll::test
