#include <limits>

#include "tests/kernels/reference.h"
#include "tests/kernels/update_rig.h"

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
      global_norm(machine.ops(), machine.device(), norm, machine.put(x, {n}));
      expect_near(machine.get(norm), {expected}, 2);
    });
  }
}

TEST(GlobalNorm, OfLargeElementsIsFiniteAndOfNonFiniteOnesIsNot) {
  Machine machine;
  const Tensor norm = machine.make({1});
  global_norm(machine.ops(), machine.device(), norm, machine.put({1e30, 1e30}, {2}));
  EXPECT_NEAR(machine.get(norm)[0] / 1e30, std::sqrt(2.0), 1e-6);
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    global_norm(machine.ops(), machine.device(), norm, machine.put({1, bad, 2}, {3}));
    EXPECT_FALSE(std::isfinite(machine.get(norm)[0]));
  }
}

struct State {
  Reals w, m, v;
};

// One step as PyTorch documents AdamW, in FP64.
void reference_adamw(State& s, const Reals& gradient, double rate, double weight_decay, int step, const AdamW& a) {
  const double norm = std::sqrt(dot(gradient, gradient));
  const double beta1 = static_cast<double>(a.beta1), beta2 = static_cast<double>(a.beta2);
  const auto clip = static_cast<double>(a.clip_norm);
  const double scale = clip > 0 ? std::min(1.0, clip / norm) : 1;
  for (std::size_t i = 0; i < s.w.size(); ++i) {
    const double g = gradient[i] * scale;
    s.m[i] = beta1 * s.m[i] + (1 - beta1) * g;
    s.v[i] = beta2 * s.v[i] + (1 - beta2) * g * g;
    const double m = s.m[i] / (1 - std::pow(beta1, step)), v = s.v[i] / (1 - std::pow(beta2, step));
    s.w[i] -= rate * weight_decay * s.w[i];
    s.w[i] -= rate * m / (std::sqrt(v) + static_cast<double>(a.epsilon));
  }
}

AdamW clipped_at(float clip) {
  AdamW settings;
  settings.clip_norm = clip;
  return settings;
}

TEST(AdamW, FollowsItsFormulaOverTenSteps) {
  constexpr float rate = 1e-2f;
  for (const float clip : {0.0f, 1.0f, 1e6f}) {
    constexpr std::int64_t n = 5003;
    Random random(2);
    const Reals start = random.normals(n);
    on_every_machine([&](Machine& machine) {
      Random gradients(3);
      State expected{start, Reals(n), Reals(n)};
      const Tensor w = machine.put(start, {n}), m = machine.make({n}), v = machine.make({n});
      const AdamW settings = clipped_at(clip);
      const UpdateRig update(machine.device(), rate);
      for (int step = 1; step <= 10; ++step) {
        const Reals gradient = gradients.normals(n, 0.1);
        const Tensor g = machine.put(gradient, {n});
        global_norm(machine.ops(), machine.device(), update.norm(), g);
        machine.ops().begin_update(update.state(), update.norm(), update.guard(), settings);
        machine.ops().adamw(w, {}, m, v, g, 0.1f, 0, update.state(), settings);
        machine.ops().end_update(update.state(), settings);
        reference_adamw(expected, gradient, static_cast<double>(rate), static_cast<double>(0.1f), step, settings);
        EXPECT_EQ(update.get().updates, step);
      }
      expect_near(machine.get(w), expected.w, 64);
      expect_near(machine.get(m), expected.m, 64);
      expect_near(machine.get(v), expected.v, 64);
    });
  }
}

TEST(AdamW, ANonFiniteNormOrGuardLeavesEverythingUntouched) {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  for (const auto& [norm, guard] :
       {std::pair{infinity, 0.0f}, std::pair{-infinity, 0.0f}, std::pair{nan, 0.0f}, std::pair{1.0f, nan}}) {
    Machine machine;
    const Tensor w = machine.put({1, 2}, {2}), m = machine.put({3, 4}, {2}), v = machine.put({5, 6}, {2});
    UpdateRig update(machine.device(), 1e-2f);
    update.set_norm(norm);
    update.set_guard(guard);
    machine.ops().begin_update(update.state(), update.norm(), update.guard(), {});
    machine.ops().adamw(w, {}, m, v, machine.put({1, 1}, {2}), 0.1f, 0, update.state(), {});
    machine.ops().end_update(update.state(), {});
    EXPECT_EQ(machine.get(w), (std::vector<float>{1, 2}));
    EXPECT_EQ(machine.get(m), (std::vector<float>{3, 4}));
    EXPECT_EQ(machine.get(v), (std::vector<float>{5, 6}));
    EXPECT_EQ(update.get().updates, 0);
    EXPECT_FALSE(std::isfinite(update.get().norm));
  }
}

// Where the arena is cut into spans (ranks, decay groups) changes nothing.
TEST(AdamW, DoesNotDependOnSpans) {
  constexpr std::int64_t n = 1001;
  Random random(4);
  const Reals w = random.normals(n), g = random.normals(n);
  on_every_machine([&](Machine& machine) {
    const Tensor gradient = machine.put(g, {n});
    UpdateRig update(machine.device(), 1e-2f);
    update.set_norm(1);
    machine.ops().begin_update(update.state(), update.norm(), update.guard(), {});
    const Tensor whole = machine.put(w, {n}), m = machine.make({n}), v = machine.make({n});
    machine.ops().adamw(whole, {}, m, v, gradient, 0.1f, 0, update.state(), {});
    const Tensor cut = machine.put(w, {n}), m2 = machine.make({n}), v2 = machine.make({n});
    for (const auto& [begin, count] : {std::pair{0, 3}, std::pair{3, 700}, std::pair{703, 298}}) {
      machine.ops().adamw(cut.slice(begin, count), {}, m2.slice(begin, count), v2.slice(begin, count),
                          gradient.slice(begin, count), 0.1f, begin, update.state(), {});
    }
    EXPECT_EQ(machine.get(cut), machine.get(whole));
  });
}

TEST(LossScale, IsTakenOutOfGradientsAndNorm) {
  Machine machine;
  UpdateRig update(machine.device(), 1e-2f);
  UpdateState state = update.get();
  state.loss_scale = 1024;
  update.set(state);
  update.set_norm(3 * 1024);
  machine.ops().begin_update(update.state(), update.norm(), update.guard(), clipped_at(1.5f));
  EXPECT_EQ(update.get().norm, 3.0f);
  EXPECT_EQ(update.get().gradient_factor, 0.5f / 1024);
}

TEST(LossScale, HalvesAfterAnOverflowAndDoublesAfterAnIntervalOfGoodUpdates) {
  Machine machine;
  AdamW settings;
  settings.loss_scale_interval = 3;
  UpdateRig update(machine.device(), 1e-2f);
  UpdateState state;
  state.loss_scale = 4;
  update.set(state);
  const auto scale_after = [&](float norm) {
    update.set_norm(norm);
    machine.ops().begin_update(update.state(), update.norm(), update.guard(), settings);
    machine.ops().end_update(update.state(), settings);
    return update.get().loss_scale;
  };
  for (const float expected : {2.0f, 1.0f, 1.0f}) EXPECT_EQ(scale_after(infinity), expected);
  for (const float expected : {1.0f, 1.0f, 2.0f, 2.0f}) EXPECT_EQ(scale_after(1), expected);
  EXPECT_EQ(scale_after(infinity), 1.0f);
  for (const float expected : {1.0f, 1.0f, 2.0f}) EXPECT_EQ(scale_after(1), expected);
  EXPECT_EQ(update.get().updates, 7);
  settings.loss_scale_interval = 0;
  EXPECT_EQ(scale_after(infinity), 2.0f);
}

TEST(FindNonfinite, MarksTheGuardAndKeepsTheMark) {
  Machine machine;
  const Tensor guard = machine.make({1});
  const auto after = [&](Into into, double value) {
    machine.ops().find_nonfinite(guard, into, machine.put({1, value, 2}, {3}));
    return machine.get(guard)[0];
  };
  EXPECT_EQ(after(Into::write, 3), 0.0f);
  EXPECT_TRUE(std::isnan(after(Into::add, static_cast<double>(infinity))));
  EXPECT_TRUE(std::isnan(after(Into::add, 1)));
  EXPECT_EQ(after(Into::write, 1), 0.0f);
  EXPECT_TRUE(std::isnan(after(Into::write, std::numeric_limits<double>::quiet_NaN())));
}

}  // namespace
}  // namespace nll::test
