// Loss, gradients and optimizer steps of a small GPT-2 against PyTorch and Hugging Face transformers
// (fixtures/gpt2_tiny.json, made by scripts/fixtures/make_gpt2_fixture.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "tests/kernels/update_rig.h"
#include "tests/model/rig.h"

namespace nll::test {
namespace {

using nlohmann::json;

json fixture() {
  std::ifstream file(NLL_SOURCE_DIR "/tests/model/fixtures/gpt2_tiny.json");
  return json::parse(file);
}

ModelConfig model_of(const json& f) {
  ModelConfig model;
  model.layers = f["model"]["layers"];
  model.heads = f["model"]["heads"];
  model.width = f["model"]["width"];
  model.context = f["model"]["context"];
  model.vocabulary = f["model"]["vocabulary"];
  return model;
}

// FP32 numbers from the hexadecimal digits of their little-endian bytes.
std::vector<float> floats(const std::string& digits) {
  std::vector<float> values;
  for (std::size_t i = 0; i + 8 <= digits.size(); i += 8) {
    std::uint32_t bits = 0;
    for (std::size_t byte = 0; byte < 4; ++byte) {
      bits |= static_cast<std::uint32_t>(std::stoul(digits.substr(i + 2 * byte, 2), nullptr, 16)) << (8 * byte);
    }
    values.push_back(std::bit_cast<float>(bits));
  }
  return values;
}

const json& entry(const json& f, const ParameterSpec& spec) {
  for (const json& parameter : f["parameters"]) {
    if (parameter["name"] == spec.name) return parameter;
  }
  throw std::runtime_error("the fixture has no " + spec.name);
}

void load(Rig& rig, const json& f) {
  ASSERT_EQ(rig.table.specs().size(), f["parameters"].size());
  for (const ParameterSpec& spec : rig.table.specs()) {
    const json& parameter = entry(f, spec);
    const std::vector<std::int64_t> shape = parameter["shape"];
    ASSERT_EQ(shape, spec.vector ? std::vector{spec.columns} : (std::vector{spec.rows, spec.columns})) << spec.name;
    std::vector<float> values = parameter["weights"];
    for (float& value : values) value /= f["weight_scale"].get<float>();
    rig.device.upload(parameter_view(spec, rig.weights), values.data());
    rig.device.synchronize();
  }
}

// One forward and backward pass over batch `step` of the fixture; returns the mean loss of its valid targets.
double differentiate(Rig& rig, Gpt& gpt, Head& head, const json& f, std::size_t step) {
  const std::vector<std::int32_t> tokens = f["tokens"][step], targets = f["targets"][step];
  const std::int64_t valid =
      static_cast<std::int64_t>(targets.size()) - std::count(targets.begin(), targets.end(), ignore_index);
  double sum = 0;
  for (float logp : rig.differentiate(gpt, head, tokens, targets, f["batch"], valid, Into::write)) sum -= logp;
  return sum / static_cast<double>(valid);
}

TEST(PyTorch, LossAndAllGradientsAreEqual) {
  const json f = fixture();
  Rig rig(model_of(f));
  load(rig, f);
  Gpt gpt(rig.model, rig.ops, rig.device, f["batch"], rig.model.context, Pass::training);
  Head head(rig.model, rig.head, rig.ops, rig.device, f["batch"].get<std::int64_t>() * rig.model.context);
  // 8 L + 6 ops, each a sum of at most 4 C terms, forward; as many back. Relative to a tensor's largest gradient.
  const double forward =
      static_cast<double>((8 * rig.model.layers + 6) * 4 * rig.model.width) * std::numeric_limits<float>::epsilon() / 2;
  EXPECT_NEAR(differentiate(rig, gpt, head, f, 0), f["losses"][0].get<double>(), forward);
  for (const ParameterSpec& spec : rig.table.specs()) {
    const std::vector<float> expected = floats(entry(f, spec)["gradients"]);
    const std::vector<float> found = rig.download(parameter_view(spec, rig.gradients));
    ASSERT_EQ(found.size(), expected.size()) << spec.name;
    float largest = 0;
    for (float value : expected) largest = std::max(largest, std::abs(value));
    ASSERT_GT(largest, 0) << spec.name;
    for (std::size_t i = 0; i < found.size(); ++i) {
      ASSERT_NEAR(found[i], expected[i], 2 * forward * largest) << spec.name << " element " << i;
    }
  }
}

TEST(PyTorch, LossesOfTenAdamWStepsAreEqual) {
  const json f = fixture();
  Rig rig(model_of(f));
  load(rig, f);
  Gpt gpt(rig.model, rig.ops, rig.device, f["batch"], rig.model.context, Pass::training);
  Head head(rig.model, rig.head, rig.ops, rig.device, f["batch"].get<std::int64_t>() * rig.model.context);
  const std::int64_t n = rig.table.stored_elements();
  const Tensor m = rig.zeros({n}), v = rig.zeros({n});
  const json& o = f["optimizer"];
  AdamW adamw;
  adamw.beta1 = o["beta1"];
  adamw.beta2 = o["beta2"];
  adamw.epsilon = o["epsilon"];
  adamw.clip_norm = o["clip_norm"];
  const UpdateRig update(rig.device, o["learning_rate"].get<float>());
  for (std::size_t step = 0; step < f["losses"].size(); ++step) {
    EXPECT_NEAR(differentiate(rig, gpt, head, f, step), f["losses"][step].get<double>(), 1e-5) << "step " << step;
    global_norm(rig.ops, rig.device, update.norm(), rig.gradients);
    const double expected_norm = f["gradient_norms"][step];
    EXPECT_NEAR(rig.download(update.norm())[0], expected_norm, 1e-5 * expected_norm) << "step " << step;
    rig.ops.begin_update(update.state(), update.norm(), update.guard(), adamw);
    for (const DecaySpan& span : rig.table.decay_spans()) {
      const auto part = [&](Tensor arena) { return arena.slice(span.begin, span.end - span.begin); };
      rig.ops.adamw(part(rig.weights), {}, part(m), part(v), part(rig.gradients),
                    span.decay ? o["weight_decay"].get<float>() : 0.0f, span.begin, update.state(), adamw);
    }
  }
}

}  // namespace
}  // namespace nll::test
