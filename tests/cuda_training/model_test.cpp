// The whole model with random weights, in each type, beside the CPU in FP32: losses and the gradient of every
// parameter.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/philox.h"
#include "src/model/gpt.h"
#include "src/model/head.h"

namespace nll::test {
namespace {

constexpr std::int64_t B = 2, T = 33;

ModelConfig small_model() {
  ModelConfig model;
  model.layers = 2;
  model.heads = 2;
  model.width = 128;  // heads of 64: the flash kernels
  model.context = 40;
  model.vocabulary = 301;
  return model;
}

std::vector<std::int32_t> tokens_of(std::uint64_t seed, const ModelConfig& model) {
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < B * T; ++i) {
    const std::uint32_t word = philox(seed, 1, static_cast<std::uint64_t>(i)).word[0];
    ids.push_back(static_cast<std::int32_t>(word % static_cast<std::uint32_t>(model.vocabulary)));
  }
  return ids;
}

struct Result {
  std::vector<float> logp, gradients;
};

// Log-probabilities and the gradient of their mean, on one backend.
Result differentiate(const std::string& device_kind, const Numerics& numerics, Recompute recompute = Recompute::none,
                     bool tuned = true) {
  const ModelConfig model = small_model();
  const ParameterTable table = ParameterTable::gpt2(model);
  const std::int64_t n = table.stored_elements();
  BackendOptions options = cpu_options(2);
  options.product_tuning = tuned;
  Backend backend = make_backend(device_kind, options);
  Device& device = *backend.device;
  std::vector<Buffer> buffers;
  const auto make = [&](DType type, std::int64_t size) {
    buffers.push_back(device.allocate(size * bytes_of(type)));
    return buffers.back().tensor(0, type, {size});
  };
  const Tensor master = make(DType::f32, n), gradients = make(DType::f32, n), rounded = make(numerics.compute, n);
  initialize(table, 3, device, master);
  backend.ops->convert(rounded, master);
  const GptTensors w = gpt_views(table, model, master, rounded), g = gpt_views(table, model, gradients);
  Gpt gpt(model, *backend.ops, device, B, T, Pass::training, numerics, recompute);
  HeadConfig config;
  config.chunk_tokens = 50;
  config.logits_tokens = 16;
  Head head(model, config, *backend.ops, device, B * T, numerics);
  const std::vector<std::int32_t> ids = tokens_of(1, model), next = tokens_of(2, model);
  const Tensor tokens = make(DType::i32, B * T).reshape({B, T}), targets = make(DType::i32, B * T);
  device.upload(tokens, ids.data());
  device.upload(targets, next.data());
  std::vector<float> weights(4 * B * T);
  for (std::size_t i = 0; i < weights.size(); i += 4) weights[i] = -1.0f / (B * T);
  const Tensor coefficients = make(DType::f32, 4 * B * T).reshape({B * T, 4});
  device.upload(coefficients, weights.data());
  const float scale = numerics.compute == DType::f16 ? 1024.0f : 1.0f;
  const Tensor loss_scale = make(DType::f32, 1);
  device.upload(loss_scale, &scale);

  const Tensor hidden = gpt.forward(w, tokens);
  const TokenStatistics statistics =
      head.train(gpt.dhidden(), g.wte, Into::write, hidden, targets, coefficients, w.wte, loss_scale);
  gpt.backward(w, g, Into::write, gpt.dhidden());
  Result result;
  result.logp.resize(B * T);
  result.gradients.resize(static_cast<std::size_t>(n));
  device.download(result.logp.data(), statistics.logp);
  device.download(result.gradients.data(), gradients);
  for (float& value : result.gradients) value /= scale;
  return result;
}

double length(const float* x, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return std::sqrt(sum);
}

// Every activation between the loss and a parameter is rounded once: some 15 a layer and as many back. Their errors are
// independent, so the gradient's is about unit * sqrt(60) relative in its norm.
void expect_parity(const Numerics& numerics, double unit, Recompute recompute = Recompute::none) {
  const Result cpu = differentiate("cpu", {}), cuda = differentiate("cuda", numerics, recompute);
  const ParameterTable table = ParameterTable::gpt2(small_model());
  double loss = 0, expected_loss = 0;
  for (std::size_t i = 0; i < cpu.logp.size(); ++i) {
    loss -= static_cast<double>(cuda.logp[i]) / static_cast<double>(cpu.logp.size());
    expected_loss -= static_cast<double>(cpu.logp[i]) / static_cast<double>(cpu.logp.size());
    EXPECT_NEAR(cuda.logp[i], cpu.logp[i], 8 * unit) << i;
  }
  EXPECT_NEAR(loss, expected_loss, unit);
  for (const ParameterSpec& spec : table.specs()) {
    std::vector<float> difference(static_cast<std::size_t>(spec.stored_size()));
    const float *found = cuda.gradients.data() + spec.offset, *expected = cpu.gradients.data() + spec.offset;
    for (std::size_t i = 0; i < difference.size(); ++i) difference[i] = found[i] - expected[i];
    const double norm = length(expected, spec.stored_size());
    // The gradient of the keys' bias is zero but for rounding: softmax does not see what all keys share.
    const double bound = 8 * unit * norm + unit * 1e-3;
    EXPECT_LE(length(difference.data(), spec.stored_size()), bound) << spec.name << ", norm " << norm;
  }
}

Numerics gpu_numerics(DType compute, DType residual) {
  Numerics numerics;
  numerics.compute = compute;
  numerics.residual = residual;
  numerics.gpu = true;
  return numerics;
}

TEST(CudaModel, InFp32GivesTheCpusLossesAndGradients) { expect_parity(gpu_numerics(DType::f32, DType::f32), 0x1p-20); }

TEST(CudaModel, InBf16GivesTheCpusLossesAndGradientsWithinRounding) {
  expect_parity(gpu_numerics(DType::bf16, DType::bf16), 0x1p-8);
  expect_parity(gpu_numerics(DType::bf16, DType::f32), 0x1p-8);
}

TEST(CudaModel, InFp16GivesTheCpusLossesAndGradientsWithinRounding) {
  expect_parity(gpu_numerics(DType::f16, DType::f16), 0x1p-11);
}

TEST(CudaModel, ComputingBlocksAgainChangesNoBit) {
  for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
    const Numerics numerics = gpu_numerics(type, type);
    // Two searches for the fastest products may end with two that round otherwise.
    const Result kept = differentiate("cuda", numerics, Recompute::none, false),
                 again = differentiate("cuda", numerics, Recompute::block, false);
    EXPECT_EQ(again.logp, kept.logp);
    EXPECT_EQ(again.gradients, kept.gradients);
  }
}

TEST(CudaModel, ComputingGeluAndNormsAgainGivesTheCpusGradientsWithinRounding) {
  for (const Recompute recompute : {Recompute::gelu, Recompute::norm}) {
    expect_parity(gpu_numerics(DType::f32, DType::f32), 0x1p-20, recompute);
    expect_parity(gpu_numerics(DType::bf16, DType::bf16), 0x1p-8, recompute);
  }
}

}  // namespace
}  // namespace nll::test
