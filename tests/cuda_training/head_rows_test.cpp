// The head on chosen rows, on the CUDA backend: beside the head on all rows, of which the others are ignored.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "src/model/head.h"
#include "src/model/parameters.h"

namespace nll::test {
namespace {

constexpr std::int64_t N = 300, C = 24, V = 150;
using Rows = std::vector<std::int32_t>;

struct Trained {
  std::vector<float> logp, scored, dhidden, dwte;
};

class Machine {
 public:
  explicit Machine(const Numerics& numerics) : numerics_(numerics), backend_(make_backend("cuda")) {}

  // Of `rows`; `chosen`: through the overloads for them, else with an ignored target in all other rows.
  Trained train(const Rows& rows, bool chosen) {
    std::mt19937 engine(7);
    const std::int64_t Vp = padded_vocabulary(V), m = chosen ? static_cast<std::int64_t>(rows.size()) : N;
    const Tensor hidden = rounded(normals(engine, N * C, 1), {N, C});
    const Tensor wte = rounded(normals(engine, Vp * C, 0.2f), {Vp, C});
    const std::vector<float> coefficients = normals(engine, 4 * N, 0.1f);
    Rows targets;
    std::vector<float> factors;
    for (std::int32_t row = 0; row < N; ++row) {
      const bool hit = std::binary_search(rows.begin(), rows.end(), row);
      if (chosen && !hit) continue;
      targets.push_back(hit ? row * 7 % static_cast<std::int32_t>(V) : ignore_index);
      factors.insert(factors.end(), &coefficients[4 * row], &coefficients[4 * row] + 4);
    }
    const Tensor t = put(targets.data(), DType::i32, {m}), f = put(factors.data(), DType::f32, {m, 4});
    const Tensor r = put(rows.data(), DType::i32, {static_cast<std::int64_t>(rows.size())});
    const Tensor dhidden = make(numerics_.compute, {N, C}), dwte = make(DType::f32, {Vp, C});
    ModelConfig model;
    model.width = C;
    model.vocabulary = V;
    HeadConfig config;
    config.chunk_tokens = 200;
    config.logits_tokens = 90;
    Head head(model, config, *backend_.ops, *backend_.device, N, numerics_, RowChoice::chosen);
    const auto logp = [&](const TokenStatistics& s) {
      const std::vector<float> values = get(s.logp);
      std::vector<float> some;
      for (std::size_t i = 0; i < rows.size(); ++i)
        some.push_back(values[chosen ? i : static_cast<std::size_t>(rows[i])]);
      return some;
    };
    Trained result;
    result.scored = logp(chosen ? head.score(hidden, r, t, wte, false) : head.score(hidden, t, wte, false));
    result.logp = logp(chosen ? head.train(dhidden, dwte, Into::write, hidden, r, t, f, wte, {})
                              : head.train(dhidden, dwte, Into::write, hidden, t, f, wte));
    const Tensor wide = make(DType::f32, {N, C});
    backend_.ops->convert(wide, dhidden);
    result.dhidden = get(wide);
    result.dwte = get(dwte);
    return result;
  }

 private:
  static std::vector<float> normals(std::mt19937& engine, std::int64_t count, float deviation) {
    std::vector<float> values(static_cast<std::size_t>(count));
    for (float& value : values) value = std::normal_distribution<float>(0, deviation)(engine);
    return values;
  }
  Tensor make(DType type, std::initializer_list<std::int64_t> dims) {
    std::int64_t size = 1;
    for (const std::int64_t dim : dims) size *= dim;
    buffers_.push_back(backend_.device->allocate(std::max<std::int64_t>(64, size * bytes_of(type))));
    return buffers_.back().tensor(0, type, dims);
  }
  Tensor put(const void* values, DType type, std::initializer_list<std::int64_t> dims) {
    const Tensor tensor = make(type, dims);
    if (tensor.size() > 0) backend_.device->upload(tensor, values);
    return tensor;
  }
  Tensor rounded(const std::vector<float>& values, std::initializer_list<std::int64_t> dims) {
    const Tensor tensor = make(numerics_.compute, dims);
    backend_.ops->convert(tensor, put(values.data(), DType::f32, dims));
    return tensor;
  }
  std::vector<float> get(Tensor tensor) {
    std::vector<float> values(static_cast<std::size_t>(tensor.size()));
    if (!values.empty()) backend_.device->download(values.data(), tensor);
    return values;
  }

  Numerics numerics_;
  Backend backend_;
  std::vector<Buffer> buffers_;
};

void expect_near(const std::vector<float>& found, const std::vector<float>& expected, double unit, double sums) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i)
    ASSERT_NEAR(found[i], expected[i], unit * std::abs(expected[i]) + sums) << i;
}

Rows every(std::int32_t step) {
  Rows rows;
  for (std::int32_t row = step - 1; row < N; row += step) rows.push_back(row);
  return rows;
}

TEST(CudaHeadRows, TrainLikeAllRowsOfWhichTheOthersAreIgnored) {
  for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
    Numerics numerics;
    numerics.compute = numerics.residual = type;
    numerics.gpu = true;
    Machine machine(numerics);
    for (const Rows& rows : {Rows{17}, every(2), every(1), Rows{}}) {
      SCOPED_TRACE(std::to_string(rows.size()) + " rows");
      const Trained found = machine.train(rows, true), expected = machine.train(rows, false);
      EXPECT_EQ(found.scored, found.logp);
      // Sums of C, V and N products below 1 in FP32, in another order where the shape is another. Gradients of logits
      // come from those sums, so that here and there one rounds to its other neighbour: dhidden and dwte are sums of a
      // few such, whose factors are below 1 and whose gradients are below 0.5.
      const double unit = type == DType::bf16 ? 0x1p-8 : type == DType::f16 ? 0x1p-11 : 0x1p-24;
      expect_near(found.logp, expected.logp, 0, (C + 8) * 8 * 0x1p-24);
      expect_near(found.dhidden, expected.dhidden, 2 * unit, 2 * unit * 0.5 + (V + C) * 0x1p-24);
      expect_near(found.dwte, expected.dwte, 2 * unit, 2 * unit * 0.5 + (N + C) * 0x1p-24);
    }
  }
}

}  // namespace
}  // namespace nll::test
