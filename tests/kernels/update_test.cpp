#include <limits>

#include "tests/kernels/reference.h"

namespace nll::test {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

TEST(GlobalNorm, IsTheSquareRootOfTheSumOfSquares) {
  for (const std::int64_t n : {1, 7, 1000, 65536, 200001}) {
    Random random(1);
    const Reals x = random.normals(n);
    const double expected = std::sqrt(dot(x, x));
    on_every_machine([&](Machine& machine) {
      const Tensor norm = machine.make({1});
      machine.ops().global_norm(norm, machine.put(x, {n}));
      expect_near(machine.get(norm), {expected}, 2);
    });
  }
}

TEST(GlobalNorm, OfLargeElementsIsFiniteAndOfNonFiniteOnesIsNot) {
  Machine machine;
  const Tensor norm = machine.make({1});
  machine.ops().global_norm(norm, machine.put({1e30, 1e30}, {2}));
  EXPECT_NEAR(machine.get(norm)[0] / 1e30, std::sqrt(2.0), 1e-6);
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    machine.ops().global_norm(norm, machine.put({1, bad, 2}, {3}));
    EXPECT_FALSE(std::isfinite(machine.get(norm)[0]));
  }
}

struct State {
  Reals w, m, v;
};

// One step as PyTorch documents AdamW, in FP64.
void reference_adamw(State& s, const Reals& gradient, double weight_decay, const AdamW& a) {
  const double norm = std::sqrt(dot(gradient, gradient)), rate = static_cast<double>(a.learning_rate);
  const double beta1 = static_cast<double>(a.beta1), beta2 = static_cast<double>(a.beta2);
  const auto clip = static_cast<double>(a.clip_norm);
  const double scale = clip > 0 ? std::min(1.0, clip / norm) : 1;
  for (std::size_t i = 0; i < s.w.size(); ++i) {
    const double g = gradient[i] * scale;
    s.m[i] = beta1 * s.m[i] + (1 - beta1) * g;
    s.v[i] = beta2 * s.v[i] + (1 - beta2) * g * g;
    const double m = s.m[i] / (1 - std::pow(beta1, static_cast<double>(a.step)));
    const double v = s.v[i] / (1 - std::pow(beta2, static_cast<double>(a.step)));
    s.w[i] -= rate * weight_decay * s.w[i];
    s.w[i] -= rate * m / (std::sqrt(v) + static_cast<double>(a.epsilon));
  }
}

TEST(AdamW, FollowsItsFormulaOverTenSteps) {
  for (const float clip : {0.0f, 1.0f, 1e6f}) {
    constexpr std::int64_t n = 5003;
    Random random(2);
    const Reals start = random.normals(n);
    on_every_machine([&](Machine& machine) {
      Random gradients(3);
      State expected{start, Reals(n), Reals(n)};
      const Tensor w = machine.put(start, {n}), m = machine.make({n}), v = machine.make({n}), norm = machine.make({1});
      for (int step = 1; step <= 10; ++step) {
        const AdamW settings{1e-2f, 0.9f, 0.95f, 1e-8f, clip, step};
        const Reals gradient = gradients.normals(n, 0.1);
        const Tensor g = machine.put(gradient, {n});
        machine.ops().global_norm(norm, g);
        machine.ops().adamw(w, m, v, g, norm, 0.1f, settings);
        reference_adamw(expected, gradient, static_cast<double>(0.1f), settings);
      }
      expect_near(machine.get(w), expected.w, 64);
      expect_near(machine.get(m), expected.m, 64);
      expect_near(machine.get(v), expected.v, 64);
    });
  }
}

TEST(AdamW, ANonFiniteNormLeavesEverythingUntouched) {
  for (const float norm : {infinity, -infinity, std::numeric_limits<float>::quiet_NaN()}) {
    Machine machine;
    const Tensor w = machine.put({1, 2}, {2}), m = machine.put({3, 4}, {2}), v = machine.put({5, 6}, {2});
    machine.ops().adamw(w, m, v, machine.put({1, 1}, {2}), machine.put({static_cast<double>(norm)}, {1}), 0.1f,
                        {1e-2f, 0.9f, 0.95f, 1e-8f, 1, 1});
    EXPECT_EQ(machine.get(w), (std::vector<float>{1, 2}));
    EXPECT_EQ(machine.get(m), (std::vector<float>{3, 4}));
    EXPECT_EQ(machine.get(v), (std::vector<float>{5, 6}));
  }
}

// Where the arena is cut into spans (ranks, decay groups) changes nothing.
TEST(AdamW, DoesNotDependOnSpans) {
  constexpr std::int64_t n = 1001;
  Random random(4);
  const Reals w = random.normals(n), g = random.normals(n);
  on_every_machine([&](Machine& machine) {
    const Tensor norm = machine.put({1}, {1}), gradient = machine.put(g, {n});
    const AdamW settings{1e-2f, 0.9f, 0.95f, 1e-8f, 0, 3};
    const Tensor whole = machine.put(w, {n}), m = machine.make({n}), v = machine.make({n});
    machine.ops().adamw(whole, m, v, gradient, norm, 0.1f, settings);
    const Tensor cut = machine.put(w, {n}), m2 = machine.make({n}), v2 = machine.make({n});
    for (const auto& [begin, count] : {std::pair{0, 3}, std::pair{3, 700}, std::pair{703, 298}}) {
      machine.ops().adamw(cut.slice(begin, count), m2.slice(begin, count), v2.slice(begin, count),
                          gradient.slice(begin, count), norm, 0.1f, settings);
    }
    EXPECT_EQ(machine.get(cut), machine.get(whole));
  });
}

}  // namespace
}  // namespace nll::test
