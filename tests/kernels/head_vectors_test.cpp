// The head against tests/kernels/fixtures/head_vectors.json (scripts/fixtures/make_head_vectors.py), whose gradients
// were checked in 120-digit arithmetic. Bounds: 1e-6 of the largest coefficient for gradients, 1e-6 for statistics.
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/kernels/machine.h"

namespace nll::test {
namespace {

using nlohmann::json;

json vectors() {
  std::ifstream file(NLL_SOURCE_DIR "/tests/kernels/fixtures/head_vectors.json");
  return json::parse(file);
}

HeadShape shape_of(const json& hyper) {
  return {hyper["vocab"].get<std::int64_t>(), hyper["pre_scale"].get<float>(), hyper["softcap"].get<float>(),
          hyper["inv_temperature"].get<float>()};
}

Reals flat(const json& rows) {
  Reals values;
  for (const json& row : rows) values.insert(values.end(), row.begin(), row.end());
  return values;
}

// (n, 4), zeros where the case has none; and the largest magnitude of each row.
struct Coefficients {
  Reals values, largest;
  explicit Coefficients(const json& rows) {
    for (const json& row : rows) {
      double most = 0;
      for (const char* name : {"g_logp", "g_lse", "g_unif", "g_ent"}) {
        const double value = row.is_null() ? 0 : row[name].get<double>();
        values.push_back(value);
        most = std::max(most, std::abs(value));
      }
      largest.push_back(most);
    }
  }
};

void expect_gradient(const std::vector<float>& found, const json& expected, const Coefficients& coefficients) {
  std::size_t at = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    for (const json& value : expected[i]) {
      EXPECT_NEAR(found[at], value.get<double>(), 1e-6 * coefficients.largest[i]) << "row " << i;
      if (coefficients.largest[i] == 0) {
        EXPECT_EQ(found[at], 0.0f);
      }
      ++at;
    }
  }
}

TEST(HeadVectors, CasesGiveTheirByProductsAndGradients) {
  const json all = vectors();
  ASSERT_EQ(all["head"].size(), 25u);
  for (const json& c : all["head"]) {
    SCOPED_TRACE(c["name"].get<std::string>());
    const auto targets = c["targets"].get<std::vector<std::int32_t>>();
    const auto n = static_cast<std::int64_t>(targets.size());
    const auto stored = static_cast<std::int64_t>(c["logits"][0].size());
    const Coefficients coefficients(c["coefs"]);
    on_every_machine([&](Machine& machine) {
      TokenStatistics s{machine.make({n}),
                        machine.make({n}),
                        machine.make({n}),
                        machine.make({n}),
                        machine.make({n}),
                        machine.make({n}),
                        machine.make({n}, DType::i32),
                        machine.make({n}, DType::i32)};
      const Tensor logits = machine.put(flat(c["logits"]), {n, stored});
      machine.ops().cross_entropy_backward(s, logits, logits, machine.put_ints(targets, {n}),
                                           machine.put(coefficients.values, {n, 4}), {}, shape_of(c["hyper"]));
      expect_gradient(machine.get(logits), c["dlogits"], coefficients);
      const std::pair<const char*, Tensor> reals[] = {
          {"logp", s.logp},       {"max", s.maximum},         {"logd", s.log_denominator},
          {"entropy", s.entropy}, {"mean_logp", s.mean_logp}, {"sum_p2", s.sum_p2}};
      const std::pair<const char*, Tensor> integers[] = {{"argmax", s.argmax}, {"rank", s.rank}};
      for (std::size_t i = 0; i < targets.size(); ++i) {
        const json& expected = c["byproducts"][i];
        for (const auto& [name, tensor] : reals) {
          const double value = expected.is_null() ? 0 : expected[name].get<double>();
          EXPECT_NEAR(machine.get(tensor)[i], value, 1e-6 * std::max(1.0, std::abs(value))) << name << ", row " << i;
          if (expected.is_null()) {
            EXPECT_EQ(machine.get(tensor)[i], 0.0f);
          }
        }
        for (const auto& [name, tensor] : integers) {
          EXPECT_EQ(machine.get_ints(tensor)[i], expected.is_null() ? 0 : expected[name].get<std::int32_t>()) << name;
        }
      }
    });
  }
}

TEST(HeadVectors, ArbitraryCoefficientsGiveTheirGradients) {
  const json all = vectors();
  ASSERT_EQ(all["head_general"].size(), 2u);
  for (const json& c : all["head_general"]) {
    SCOPED_TRACE(c["name"].get<std::string>());
    const auto targets = c["targets"].get<std::vector<std::int32_t>>();
    const auto n = static_cast<std::int64_t>(targets.size());
    const auto stored = static_cast<std::int64_t>(c["logits"][0].size());
    const Coefficients coefficients(c["coefs"]);
    on_every_machine([&](Machine& machine) {
      const Tensor logits = machine.put(flat(c["logits"]), {n, stored});
      machine.ops().cross_entropy_backward({}, logits, logits, machine.put_ints(targets, {n}),
                                           machine.put(coefficients.values, {n, 4}), {}, shape_of(c["hyper"]));
      expect_gradient(machine.get(logits), c["dlogits"], coefficients);
    });
  }
}

TEST(HeadVectors, ACertainTargetKeepsTheDigitsOfItsLogProbability) {
  const json all = vectors();
  const auto& cases = all["head"];
  const auto found = std::find_if(cases.begin(), cases.end(), [](const json& c) { return c["name"] == "confident"; });
  ASSERT_NE(found, cases.end());
  const json& c = *found;
  on_every_machine([&](Machine& machine) {
    const Tensor logits = machine.put(flat(c["logits"]), {1, 7}), logp = machine.make({1});
    TokenStatistics s;
    s.logp = logp;
    machine.ops().cross_entropy_backward(s, logits, logits, machine.put_ints({0}, {1}),
                                         machine.put({-1, 0, 0, 0}, {1, 4}), {}, {7, 1, 0, 1});
    const double expected = c["byproducts"][0]["logp"].get<double>();
    ASSERT_LT(expected, 0);
    EXPECT_NEAR(machine.get(logp)[0], expected, 1e-6 * -expected);
    const double gradient = c["dlogits"][0][0].get<double>();
    EXPECT_NEAR(machine.get(logits)[0], gradient, 1e-6 * std::abs(gradient));
  });
}

// A row computed whole has the statistics that merging its parts gives.
TEST(HeadVectors, AWholeRowEqualsTheMergeOfItsParts) {
  const json all = vectors();
  const json& c = all["head_merge"];
  on_every_machine([&](Machine& machine) {
    const auto n = static_cast<std::int64_t>(c["logits"].size());
    TokenStatistics s;
    s.maximum = machine.make({1}), s.log_denominator = machine.make({1}), s.entropy = machine.make({1});
    s.argmax = machine.make({1}, DType::i32);
    machine.ops().cross_entropy(s, machine.put(c["logits"].get<Reals>(), {1, n}), machine.put_ints({0}, {1}),
                                {n, 1, 0, 1});
    EXPECT_EQ(machine.get(s.maximum)[0], c["merged"]["max"].get<float>());
    EXPECT_EQ(machine.get_ints(s.argmax)[0], c["merged"]["argmax"].get<std::int32_t>());
    EXPECT_NEAR(machine.get(s.log_denominator)[0], c["logd"].get<double>(), 1e-6);
    EXPECT_NEAR(machine.get(s.entropy)[0], c["entropy"].get<double>(), 1e-6);
  });
}

// h W^T, the head, and back to dh and dW: in one chunk of tokens and in several, which add up.
TEST(HeadVectors, ProductsBeforeAndAfterTheHeadGiveTheirGradientsInAnyChunks) {
  const json all = vectors();
  const json& c = all["head_linear"];
  const json& hyper = c["hyper"];
  const auto targets = c["targets"].get<std::vector<std::int32_t>>();
  const auto n = static_cast<std::int64_t>(targets.size()), v = static_cast<std::int64_t>(c["W"].size());
  const auto width = static_cast<std::int64_t>(c["h"][0].size());
  const double smoothing = hyper["label_smoothing"].get<double>(), z_loss = hyper["z_loss"].get<double>();
  const double entropy = hyper["entropy_coef"].get<double>();
  on_every_machine([&](Machine& machine) {
    for (const std::int64_t chunk : {n, std::int64_t{2}, std::int64_t{1}}) {
      const Tensor h = machine.put(flat(c["h"]), {n, width}), wte = machine.put(flat(c["W"]), {v, width});
      const Tensor dh = machine.make({n, width}), dwte = machine.make({v, width}),
                   target = machine.put_ints(targets, {n});
      const Tensor logits = machine.make({chunk, v});
      for (std::int64_t begin = 0; begin < n; begin += chunk) {
        const std::int64_t count = std::min(chunk, n - begin);
        const Tensor part = logits.slice(0, count), part_h = h.slice(begin, count);
        TokenStatistics s;
        s.maximum = machine.make({count}), s.log_denominator = machine.make({count});
        machine.ops().head_logits(part, part_h, wte);
        machine.ops().cross_entropy(s, part, target.slice(begin, count), shape_of(hyper));
        Reals coefficients;
        for (std::int64_t i = 0; i < count; ++i) {
          const auto at = static_cast<std::size_t>(begin + i), row = static_cast<std::size_t>(i);
          const double w = c["weights"][at].get<double>(), m = c["mask_weights"][at].get<double>();
          const double lse = static_cast<double>(machine.get(s.maximum)[row]) +
                             static_cast<double>(machine.get(s.log_denominator)[row]);
          coefficients.insert(coefficients.end(),
                              {-w * (1 - smoothing), 2 * m * z_loss * lse, -w * smoothing, -m * entropy});
        }
        machine.ops().cross_entropy_backward(s, part, part, target.slice(begin, count),
                                             machine.put(coefficients, {count, 4}), {}, shape_of(hyper));
        machine.ops().head_backward(dh.slice(begin, count), dwte, Into::add, part, part_h, wte);
      }
      expect_near(machine.get(dh), flat(c["dh"]), 24, 1);
      expect_near(machine.get(dwte), flat(c["dW"]), 24, 1);
    }
  });
}

}  // namespace
}  // namespace nll::test
