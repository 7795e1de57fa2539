// The head on CUDA against tests/kernels/fixtures/head_vectors.json (scripts/fixtures/make_head_vectors.py), whose
// gradients were checked in 120-digit arithmetic. Bounds: 1e-6 of the largest coefficient for gradients, 1e-6 for
// statistics, as on the CPU.
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/cuda/head_rows.h"

namespace nll::test {
namespace {

using nlohmann::json;

json cuda_vectors() {
  std::ifstream file(NLL_SOURCE_DIR "/tests/kernels/fixtures/head_vectors.json");
  return json::parse(file);
}

HeadShape shape_of(const json& hyper) {
  return {hyper["vocab"].get<std::int64_t>(), hyper["pre_scale"].get<float>(), hyper["softcap"].get<float>(),
          hyper["inv_temperature"].get<float>()};
}

// One of the file's cases: n rows of `stored` logits with (n, 4) coefficients, zeros where it has none.
struct Case {
  std::int64_t n, stored;
  HeadShape shape;
  std::vector<std::int32_t> targets;
  Reals logits, gradient, coefficients, largest;  // largest coefficient of each row

  explicit Case(const json& c)
      : n(static_cast<std::int64_t>(c["targets"].size())),
        stored(static_cast<std::int64_t>(c["logits"][0].size())),
        shape(shape_of(c["hyper"])),
        targets(c["targets"].get<std::vector<std::int32_t>>()) {
    for (const json& row : c["logits"]) logits.insert(logits.end(), row.begin(), row.end());
    for (const json& row : c["dlogits"]) gradient.insert(gradient.end(), row.begin(), row.end());
    for (const json& row : c["coefs"]) {
      double most = 0;
      for (const char* name : {"g_logp", "g_lse", "g_unif", "g_ent"}) {
        coefficients.push_back(row.is_null() ? 0 : row[name].get<double>());
        most = std::max(most, std::abs(coefficients.back()));
      }
      largest.push_back(most);
    }
  }
};

void expect_gradient(const Reals& found, const Case& c) {
  ASSERT_EQ(found.size(), c.gradient.size());
  for (std::size_t k = 0; k < found.size(); ++k) {
    const double largest = c.largest[k / static_cast<std::size_t>(c.stored)];
    EXPECT_NEAR(found[k], c.gradient[k], 1e-6 * largest) << "element " << k;
  }
}

TEST(CudaHeadVectors, CasesGiveTheirByProductsAndGradients) {
  const json all = cuda_vectors();
  ASSERT_EQ(all["head"].size(), 25u);
  CudaMachine machine;
  for (const json& j : all["head"]) {
    SCOPED_TRACE(j["name"].get<std::string>());
    const Case c(j);
    HeadStatistics s(machine, c.n);
    const Tensor logits = machine.put(c.logits, {c.n, c.stored});
    machine.ops().cross_entropy_backward(s.tensors, logits, logits, machine.put_ints(c.targets, {c.n}),
                                         machine.put(c.coefficients, {c.n, 4}), {}, c.shape);
    expect_gradient(machine.get(logits), c);
    s.read(machine);
    const std::pair<const char*, const Reals*> reals[] = {
        {"logp", &s.logp},       {"max", &s.maximum},         {"logd", &s.log_denominator},
        {"entropy", &s.entropy}, {"mean_logp", &s.mean_logp}, {"sum_p2", &s.sum_p2}};
    const std::pair<const char*, const std::vector<std::int32_t>*> integers[] = {{"argmax", &s.argmax},
                                                                                 {"rank", &s.rank}};
    for (std::size_t i = 0; i < c.targets.size(); ++i) {
      const json& expected = j["byproducts"][i];
      for (const auto& [name, found] : reals) {
        const double value = expected.is_null() ? 0 : expected[name].get<double>();
        const double bound = expected.is_null() ? 0 : 1e-6 * std::max(1.0, std::abs(value));
        EXPECT_NEAR((*found)[i], value, bound) << name << ", row " << i;
      }
      for (const auto& [name, found] : integers) {
        EXPECT_EQ((*found)[i], expected.is_null() ? 0 : expected[name].get<std::int32_t>()) << name << ", row " << i;
      }
    }
  }
}

TEST(CudaHeadVectors, ArbitraryCoefficientsGiveTheirGradients) {
  const json all = cuda_vectors();
  ASSERT_EQ(all["head_general"].size(), 2u);
  CudaMachine machine;
  for (const json& j : all["head_general"]) {
    SCOPED_TRACE(j["name"].get<std::string>());
    const Case c(j);
    const Tensor logits = machine.put(c.logits, {c.n, c.stored});
    machine.ops().cross_entropy_backward({}, logits, logits, machine.put_ints(c.targets, {c.n}),
                                         machine.put(c.coefficients, {c.n, 4}), {}, c.shape);
    expect_gradient(machine.get(logits), c);
  }
}

TEST(CudaHeadVectors, ACertainTargetKeepsTheDigitsOfItsLogProbability) {
  const json all = cuda_vectors();
  const auto& cases = all["head"];
  const auto found = std::find_if(cases.begin(), cases.end(), [](const json& c) { return c["name"] == "confident"; });
  ASSERT_NE(found, cases.end());
  const Case c(*found);
  CudaMachine machine;
  const Tensor logits = machine.put(c.logits, {1, 7}), logp = machine.make({1});
  TokenStatistics s;
  s.logp = logp;
  machine.ops().cross_entropy_backward(s, logits, logits, machine.put_ints({0}, {1}),
                                       machine.put({-1, 0, 0, 0}, {1, 4}), {}, {7, 1, 0, 1});
  const double expected = (*found)["byproducts"][0]["logp"].get<double>();
  ASSERT_LT(expected, 0);
  EXPECT_NEAR(machine.get(logp)[0], expected, 1e-6 * -expected);
  EXPECT_NEAR(machine.get(logits)[0], c.gradient[0], 1e-6 * std::abs(c.gradient[0]));
}

}  // namespace
}  // namespace nll::test
