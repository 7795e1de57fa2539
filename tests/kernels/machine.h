// What the tests of the ops share: a backend with tensors that are filled and read back, every combination of
// instruction set and threads, random numbers, comparison with a bound, and central differences.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "kernels/cpu/rows.h"
#include "kernels/device.h"
#include "kernels/ops.h"

namespace nll::test {

using Reals = std::vector<double>;
using Dims = std::initializer_list<std::int64_t>;

class Machine {
 public:
  Machine(int threads, const std::string& instructions)
      : backend_(make_backend("cpu", cpu_options(threads, instructions))) {}
  explicit Machine(int threads = 2) : Machine(threads, "") {}

  Ops& ops() { return *backend_.ops; }
  Device& device() { return *backend_.device; }

  Tensor make(Dims dims, DType type = DType::f32) {
    std::int64_t size = 1;
    for (const std::int64_t dim : dims) size *= dim;
    buffers_.push_back(backend_.device->allocate(std::max<std::int64_t>(64, size * bytes_of(type))));
    return buffers_.back().tensor(0, type, dims);
  }
  Tensor put(const Reals& values, Dims dims) {
    const Tensor tensor = make(dims);
    EXPECT_EQ(tensor.size(), static_cast<std::int64_t>(values.size()));
    const std::vector<float> floats(values.begin(), values.end());
    backend_.device->upload(tensor, floats.data());
    return tensor;
  }
  Tensor put_ints(const std::vector<std::int32_t>& values, Dims dims) {
    const Tensor tensor = make(dims, DType::i32);
    EXPECT_EQ(tensor.size(), static_cast<std::int64_t>(values.size()));
    backend_.device->upload(tensor, values.data());
    return tensor;
  }
  std::vector<float> get(const Tensor& tensor) {
    std::vector<float> values(static_cast<std::size_t>(tensor.size()));
    backend_.device->download(values.data(), tensor);
    return values;
  }
  std::vector<std::int32_t> get_ints(const Tensor& tensor) {
    std::vector<std::int32_t> values(static_cast<std::size_t>(tensor.size()));
    backend_.device->download(values.data(), tensor);
    return values;
  }

 private:
  Backend backend_;
  std::vector<Buffer> buffers_;
};

// body(machine) for each instruction set of this processor and 1, 2 and 3 threads.
inline void on_every_machine(const std::function<void(Machine&)>& body) {
  int count = 0;
  const char* const* names = cpu::supported_instructions(&count);
  for (int i = 0; i < count; ++i) {
    for (int threads = 1; threads <= 3; ++threads) {
      SCOPED_TRACE(std::string(names[i]) + ", " + std::to_string(threads) + " threads");
      Machine machine(threads, names[i]);
      body(machine);
    }
  }
}

// Numbers that are exact in FP32, so that a reference in FP64 sees the same inputs.
class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  double normal(double deviation = 1) {
    return static_cast<double>(static_cast<float>(std::normal_distribution<double>(0, deviation)(engine_)));
  }
  Reals normals(std::int64_t count, double deviation = 1) {
    Reals values(static_cast<std::size_t>(count));
    for (double& value : values) value = normal(deviation);
    return values;
  }
  std::vector<std::int32_t> below(std::int32_t limit, std::int64_t count) {
    std::vector<std::int32_t> values(static_cast<std::size_t>(count));
    for (std::int32_t& value : values) value = std::uniform_int_distribution<std::int32_t>(0, limit - 1)(engine_);
    return values;
  }

 private:
  std::mt19937 engine_;
};

inline constexpr double epsilon = 1.0 / (1 << 24);  // half a unit in the last place of FP32

// |actual - expected| <= epsilon * terms * scale, where an element is a sum of `terms` roundings and `scale` bounds its
// parts: the largest expected magnitude, but at least `parts`.
template <class Actual>
void expect_near(const std::vector<Actual>& actual, const Reals& expected, double terms, double parts = 1e-3) {
  ASSERT_EQ(actual.size(), expected.size());
  double scale = parts;
  for (const double value : expected) scale = std::max(scale, std::abs(value));
  const double bound = epsilon * terms * scale;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double difference = std::abs(static_cast<double>(actual[i]) - expected[i]);
    ASSERT_TRUE(difference <= bound) << "element " << i << ": " << actual[i] << ", expected " << expected[i]
                                     << ", difference " << difference << " above " << bound;
  }
}

// d loss / d x by central differences in FP64; `loss` reads x.
inline Reals central_differences(Reals& x, const std::function<double()>& loss, double step = 1e-5) {
  Reals gradient(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double at = x[i];
    x[i] = at + step;
    const double above = loss();
    x[i] = at - step;
    const double below = loss();
    x[i] = at;
    gradient[i] = (above - below) / (2 * step);
  }
  return gradient;
}

inline double dot(const Reals& a, const Reals& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}
inline Reals sum(const Reals& a, const Reals& b) {
  Reals total(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) total[i] = a[i] + b[i];
  return total;
}

}  // namespace nll::test
