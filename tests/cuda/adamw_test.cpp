#include <bit>
#include <limits>

#include "kernels/philox.h"
#include "tests/cuda/machine.h"
#include "tests/kernels/update_rig.h"

namespace nll::test {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }
std::uint32_t bits_of(double value) { return std::bit_cast<std::uint32_t>(static_cast<float>(value)); }

struct Moments {
  Reals w, m, v;
};

// One step as PyTorch documents AdamW, in FP64.
void reference_adamw(Moments& s, const Reals& gradient, double rate, double weight_decay, int step, const AdamW& a) {
  const double norm = std::sqrt(dot(gradient, gradient)), clip = static_cast<double>(a.clip_norm);
  const double beta1 = static_cast<double>(a.beta1), beta2 = static_cast<double>(a.beta2);
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

TEST(CudaAdamW, FollowsItsFormulaOverTenSteps) {
  constexpr std::int64_t n = 1003;
  constexpr float rate = 1e-2f;
  for (const DType type : number_types) {
    for (const float clip : {0.0f, 1.0f}) {
      AdamW settings;
      settings.clip_norm = clip;
      CudaMachine machine;
      Random random(2);
      Moments expected{random.normals(n), Reals(n), Reals(n)};
      const Tensor w = machine.put(expected.w, {n}), m = machine.make({n}), v = machine.make({n});
      const Tensor low = machine.poisoned({n}, type);
      const UpdateRig update(machine.device(), rate);
      for (int step = 1; step <= 10; ++step) {
        const Reals gradient = random.normals(n, 0.1);
        const Tensor g = machine.put(gradient, {n});
        global_norm(machine.ops(), machine.device(), update.norm(), g);
        machine.ops().begin_update(update.state(), update.norm(), update.guard(), settings);
        machine.ops().adamw(w, low, m, v, g, 0.1f, 0, update.state(), settings);
        machine.ops().end_update(update.state(), settings);
        reference_adamw(expected, gradient, static_cast<double>(rate), static_cast<double>(0.1f), step, settings);
      }
      EXPECT_EQ(update.get().updates, 10);
      expect_close(machine.get(w), expected.w, DType::f32, 64);
      expect_close(machine.get(m), expected.m, DType::f32, 64);
      expect_close(machine.get(v), expected.v, DType::f32, 64);
      EXPECT_EQ(machine.get(low), rounded(machine.get(w), type));
    }
  }
}

// One update of random weights with these moments; `cut`: the spans' lengths.
struct Bench {
  explicit Bench(DType moment_type, double norm = 1, const Reals& first_moment = {})
      : update(machine.device(), 1e-2f), type(moment_type) {
    Random random(4);
    gradient = machine.put(random.normals(n), {n});
    w = machine.put(random.normals(n), {n});
    m = machine.put(first_moment.empty() ? random.normals(n) : first_moment, {n}, type);
    Reals squares = random.normals(n);
    for (double& value : squares) value *= value;
    v = machine.put(squares, {n}, type);
    low = machine.make({n}, DType::bf16);
    update.set_norm(static_cast<float>(norm));
  }
  void run(const std::vector<std::int64_t>& cut, std::uint64_t seed = 11) {
    AdamW settings;
    settings.seed = seed;
    machine.ops().begin_update(update.state(), update.norm(), update.guard(), settings);
    std::int64_t begin = 0;
    for (const std::int64_t count : cut) {
      machine.ops().adamw(w.slice(begin, count), low.slice(begin, count), m.slice(begin, count), v.slice(begin, count),
                          gradient.slice(begin, count), 0.1f, first + begin, update.state(), settings);
      begin += count;
    }
    EXPECT_EQ(begin, n);
  }
  std::vector<std::vector<std::uint8_t>> bits() {
    return {machine.get_bytes(w), machine.get_bytes(low), machine.get_bytes(m), machine.get_bytes(v)};
  }

  static constexpr std::int64_t n = 1001, first = std::int64_t{1} << 33;
  CudaMachine machine;
  UpdateRig update;
  DType type;
  Tensor gradient, w, m, v, low;
};

// Where the arena is cut into spans (ranks, decay groups) changes nothing.
TEST(CudaAdamW, DoesNotDependOnSpans) {
  for (const DType type : {DType::f32, DType::bf16}) {
    Bench whole(type), cut(type);
    whole.run({Bench::n});
    cut.run({0, 3, 1, 701, 296});
    EXPECT_EQ(cut.bits(), whole.bits());
  }
}

TEST(CudaAdamW, LeavesEverythingUntouchedAfterANonFiniteNorm) {
  for (const DType type : {DType::f32, DType::bf16}) {
    Bench bench(type, nan);
    const auto before = bench.bits();
    bench.run({Bench::n});
    EXPECT_EQ(bench.bits(), before);
    EXPECT_EQ(bench.update.get().updates, 0);
  }
}

// The moments that FP32 would keep, with 16 random bits added below the bits that BF16 keeps.
TEST(CudaAdamW, RoundsBf16MomentsByTheRandomBitsOfTheirElement) {
  Bench exact(DType::bf16), stochastic(DType::bf16);
  exact.m = exact.machine.put(exact.machine.get(exact.m), {Bench::n});
  exact.v = exact.machine.put(exact.machine.get(exact.v), {Bench::n});
  exact.run({Bench::n});
  stochastic.run({Bench::n}, 11);
  EXPECT_EQ(stochastic.machine.get_bytes(stochastic.w), exact.machine.get_bytes(exact.w));
  const Reals m = exact.machine.get(exact.m), v = exact.machine.get(exact.v);
  Reals expected_m, expected_v;
  for (std::int64_t i = 0; i < Bench::n; ++i) {
    const PhiloxBlock random = philox(11, 1, static_cast<std::uint64_t>(Bench::first + i));  // the first update
    const auto rounded_by = [](double value, std::uint32_t word) {
      const std::uint32_t bits = (bits_of(value) + (word & 0xffffu)) & 0xffff0000u;
      return static_cast<double>(std::bit_cast<float>(bits));
    };
    expected_m.push_back(rounded_by(m[at(i)], random.word[0]));
    expected_v.push_back(rounded_by(v[at(i)], random.word[1]));
  }
  EXPECT_EQ(stochastic.machine.get(stochastic.m), expected_m);
  EXPECT_EQ(stochastic.machine.get(stochastic.v), expected_v);
}

TEST(CudaAdamW, RoundsDifferentlyUnderAnotherSeedAndInTheNextUpdate) {
  Bench first(DType::bf16), other_seed(DType::bf16), later(DType::bf16);
  UpdateState state = later.update.get();
  state.updates = 5;
  later.update.set(state);
  first.run({Bench::n}, 1);
  other_seed.run({Bench::n}, 2);
  later.run({Bench::n}, 1);
  EXPECT_NE(first.bits()[2], other_seed.bits()[2]);
  EXPECT_NE(first.bits()[2], later.bits()[2]);
}

// Rounding to nearest would lose every one of these steps.
TEST(CudaAdamW, Bf16MomentsFollowStepsBelowTheirLastPlaceOnAverage) {
  CudaMachine machine;
  constexpr std::int64_t n = 4096;
  constexpr int steps = 8;
  const Tensor w = machine.make({n}), m = machine.put(Reals(n, 1.0), {n}, DType::bf16);
  const Tensor v = machine.put(Reals(n, 1.0), {n}, DType::bf16), gradient = machine.put(Reals(n, 1.01), {n});
  UpdateRig update(machine.device(), 1e-3f);
  update.set_norm(1);
  AdamW settings;
  settings.seed = 5;
  for (int step = 0; step < steps; ++step) {
    machine.ops().begin_update(update.state(), update.norm(), update.guard(), settings);
    machine.ops().adamw(w, {}, m, v, gradient, 0, 0, update.state(), settings);
  }
  double mean = 0;
  for (const double value : machine.get(m)) mean += value / n;
  const double expected = 1 + 0.01 * (1 - std::pow(static_cast<double>(settings.beta1), steps));
  // Five standard deviations: a rounding has at most half the step between BF16 numbers, 2^-7 above 1.
  EXPECT_NEAR(mean, expected, 5 * std::sqrt(steps / static_cast<double>(n)) * 0x1p-8);
}

TEST(CudaAdamW, KeepsMomentsThatAreNotFinite) {
  Reals moments(at(Bench::n), 1.0);
  moments[0] = nan;
  moments[4] = infinity;
  moments[1000] = -infinity;
  Bench bench(DType::bf16, 1, moments);
  bench.run({Bench::n});
  const Reals m = bench.machine.get(bench.m);
  EXPECT_TRUE(std::isnan(m[0]));
  EXPECT_EQ(m[4], infinity);
  EXPECT_EQ(m[1000], -infinity);
  EXPECT_TRUE(std::isfinite(m[1]));
}

TEST(CudaAdamW, AgreesWithTheCpuInFp32) {
  constexpr std::int64_t n = 517;
  const auto run = [](auto& on) {
    Random random(6);
    const Tensor w = on.put(random.normals(n), {n}), m = on.put(random.normals(n, 1e-3), {n}), v = on.make({n});
    UpdateRig update(on.device(), 1e-3f);
    for (int step = 0; step < 3; ++step) {
      const Tensor gradient = on.put(random.normals(n, 1e-2), {n});
      global_norm(on.ops(), on.device(), update.norm(), gradient);
      on.ops().begin_update(update.state(), update.norm(), update.guard(), {});
      on.ops().adamw(w, {}, m, v, gradient, 0.1f, 0, update.state(), {});
    }
    const auto found = on.get(w);
    return Reals(found.begin(), found.end());
  };
  CudaMachine machine;
  Machine cpu;
  expect_close(run(machine), run(cpu), DType::f32, 8);
}

}  // namespace
}  // namespace nll::test
