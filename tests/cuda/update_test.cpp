#include <limits>
#include <utility>

#include "tests/cuda/machine.h"
#include "tests/kernels/update_rig.h"

namespace nll::test {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// ---- convert ----

// Sizes around those of an access, a thread's share and a block's, from aligned addresses and others.
TEST(CudaConvert, RoundsToNearestEvenAndBackWithoutLoss) {
  for (const DType type : number_types) {
    CudaMachine machine;
    for (const std::int64_t n : {0, 1, 3, 8, 255, 4096, 9001}) {
      for (const std::int64_t skip : {0, 1}) {
        SCOPED_TRACE(type_name(type) + ", n " + std::to_string(n) + " from element " + std::to_string(skip));
        Reals values = Random(1).normals(n + skip, 100);
        const Tensor from = machine.put(values, {n + skip}).slice(skip, n);
        const Tensor to = machine.poisoned({n + skip}, type).slice(skip, n), back = machine.poisoned({n});
        values.erase(values.begin(), values.begin() + skip);
        machine.ops().convert(to, from);
        EXPECT_EQ(machine.get(to), rounded(values, type));
        machine.ops().convert(back, to);
        EXPECT_EQ(machine.get(back), rounded(values, type));
      }
    }
  }
}

TEST(CudaConvert, KeepsWhatIsNotFiniteAndRoundsAtTheEndsOfTheRange) {
  for (const DType type : half_types) {
    CudaMachine machine;
    const double last = type == DType::f16 ? 65504 : 0x1.fep127, step = type == DType::f16 ? 32 : 0x1p120;
    const double tiny = type == DType::f16 ? 0x1p-24 : 0x1p-133;
    const Reals values = {infinity,        -infinity,         nan,  last,        -last,
                          last + step / 4, last + step / 2,   tiny, 0.75 * tiny, -1.5 * tiny,
                          2.5 * tiny,      1 + unit_of(type), -0.0, 0.0,         1 + 3 * unit_of(type)};
    const Tensor to = machine.make({15}, type);
    machine.ops().convert(to, machine.put(values, {15}));
    const Reals found = machine.get(to), expected = rounded(values, type);
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (std::isnan(values[i])) {
        EXPECT_TRUE(std::isnan(found[i]));
      } else {
        EXPECT_EQ(found[i], expected[i]) << values[i];
      }
    }
  }
}

// ---- find_nonfinite ----

TEST(CudaFindNonfinite, SeesTheOneElementThatIsNotFinite) {
  for (const DType type : number_types) {
    CudaMachine machine;
    const Tensor guard = machine.poisoned({1});
    for (const std::int64_t n : {1, 5, 4096, 9001}) {
      for (const std::int64_t skip : {0, 1}) {
        Reals values(at(n + skip), type == DType::f16 ? 60000.0 : 3e38);
        const auto guard_of = [&] {
          machine.ops().find_nonfinite(guard, Into::write, machine.put(values, {n + skip}, type).slice(skip, n));
          return machine.get(guard)[0];
        };
        EXPECT_EQ(guard_of(), 0.0);
        for (const std::int64_t place : {std::int64_t{0}, n / 2, n - 1}) {
          SCOPED_TRACE(type_name(type) + ", element " + std::to_string(place) + " of " + std::to_string(n));
          const double before = std::exchange(values[at(place + skip)], place % 2 == 0 ? nan : -infinity);
          EXPECT_TRUE(std::isnan(guard_of()));
          values[at(place + skip)] = before;
        }
      }
    }
  }
}

TEST(CudaFindNonfinite, KeepsAMarkWhereItAdds) {
  CudaMachine machine;
  const Tensor guard = machine.poisoned({1}), good = machine.put({1, 2}, {2}), bad = machine.put({1, nan}, {2});
  const auto after = [&](Into into, const Tensor& values) {
    machine.ops().find_nonfinite(guard, into, values);
    return machine.get(guard)[0];
  };
  EXPECT_EQ(after(Into::write, good), 0.0);
  EXPECT_EQ(after(Into::add, good), 0.0);
  EXPECT_TRUE(std::isnan(after(Into::add, bad)));
  EXPECT_TRUE(std::isnan(after(Into::add, good)));
  EXPECT_EQ(after(Into::write, machine.make({0})), 0.0);
}

// ---- global_norm ----

TEST(CudaGlobalNorm, IsTheSquareRootOfTheSumOfSquares) {
  CudaMachine machine;
  const Tensor norm = machine.poisoned({1});
  for (const std::int64_t n : {0, 1, 7, 1000, 16384, 16385, 50001}) {
    for (const std::int64_t skip : {0, 1}) {
      SCOPED_TRACE("n " + std::to_string(n) + " from element " + std::to_string(skip));
      Reals x = Random(1).normals(n + skip);
      global_norm(machine.ops(), machine.device(), norm, machine.put(x, {n + skip}).slice(skip, n));
      x.erase(x.begin(), x.begin() + skip);
      expect_close(machine.get(norm), {std::sqrt(dot(x, x))}, DType::f32, 1);
    }
  }
}

TEST(CudaGlobalNorm, HasTheSameBitsAtAnyAddressAndEachTime) {
  CudaMachine machine;
  Reals x = Random(2).normals(20000);
  const Tensor whole = machine.put(x, {20000}), norm = machine.make({1}), other = machine.make({1});
  x.insert(x.begin(), 1.0);
  global_norm(machine.ops(), machine.device(), norm, whole);
  for (const Tensor& same : {whole, machine.put(x, {20001}).slice(1, 20000)}) {
    global_norm(machine.ops(), machine.device(), other, same);
    EXPECT_EQ(machine.get_bytes(other), machine.get_bytes(norm));
  }
}

TEST(CudaGlobalNorm, OfLargeElementsIsFiniteAndOfNonFiniteOnesIsNot) {
  CudaMachine machine;
  const Tensor norm = machine.make({1});
  global_norm(machine.ops(), machine.device(), norm, machine.put({1e30, 1e30}, {2}));
  EXPECT_NEAR(machine.get(norm)[0] / 1e30, std::sqrt(2.0), 1e-6);
  for (const double bad : {nan, infinity}) {
    Reals x(40000, 1.0);
    x[39999] = bad;
    global_norm(machine.ops(), machine.device(), norm, machine.put(x, {40000}));
    EXPECT_FALSE(std::isfinite(machine.get(norm)[0]));
  }
}

// ---- begin_update, end_update ----

TEST(CudaUpdate, KeepsTheStateThatTheCpuKeeps) {
  AdamW settings;
  settings.clip_norm = 1.5f;
  settings.loss_scale_interval = 3;
  for (const std::int32_t interval : {0, 3}) {
    settings.loss_scale_interval = interval;
    CudaMachine machine;
    Machine cpu;
    UpdateRig found(machine.device(), 6e-4f), expected(cpu.device(), 6e-4f);
    const auto run = [&](Ops& ops, UpdateRig& rig, double norm, double guard) {
      rig.set_norm(static_cast<float>(norm));
      rig.set_guard(static_cast<float>(guard));
      ops.begin_update(rig.state(), rig.norm(), rig.guard(), settings);
      ops.end_update(rig.state(), settings);
    };
    const std::pair<double, double> steps[] = {{3e4, 0}, {100, 0}, {1, nan},      {2, 0}, {nan, 0}, {0.5, 0}, {0.1, 0},
                                               {7, 0},   {3, 0},   {infinity, 0}, {3, 0}, {2, 0},   {1.4, 0}, {900, 0}};
    for (const auto& [norm, guard] : steps) {
      run(machine.ops(), found, norm, guard);
      run(cpu.ops(), expected, norm, guard);
      const UpdateState a = found.get(), b = expected.get();
      EXPECT_EQ(a.learning_rate, b.learning_rate);
      EXPECT_EQ(a.loss_scale, b.loss_scale);
      EXPECT_EQ(a.updates, b.updates);
      EXPECT_EQ(a.good_updates, b.good_updates);
      EXPECT_EQ(a.gradient_factor, b.gradient_factor);
      if (std::isfinite(b.norm)) {
        EXPECT_EQ(a.norm, b.norm);
      }
      EXPECT_EQ(std::isfinite(a.norm), std::isfinite(b.norm));
      // Powers of the betas: two libraries in double, rounded to FP32.
      EXPECT_FLOAT_EQ(a.rate, b.rate);
      EXPECT_FLOAT_EQ(a.root, b.root);
    }
    EXPECT_EQ(found.get().updates, 11);
  }
}

TEST(CudaUpdate, KeepsTheLossScaleWithinItsBounds) {
  CudaMachine machine;
  AdamW settings;
  settings.loss_scale_interval = 1;
  UpdateRig update(machine.device());
  const auto scale_after = [&](float scale, double norm) {
    UpdateState state = update.get();
    state.loss_scale = scale;
    update.set(state);
    update.set_norm(static_cast<float>(norm));
    machine.ops().begin_update(update.state(), update.norm(), update.guard(), settings);
    machine.ops().end_update(update.state(), settings);
    return update.get().loss_scale;
  };
  EXPECT_EQ(scale_after(1, infinity), 1.0f);
  EXPECT_EQ(scale_after(0x1p24f, 1), 0x1p24f);
  EXPECT_EQ(scale_after(0x1p23f, 1), 0x1p24f);
}

}  // namespace
}  // namespace nll::test
