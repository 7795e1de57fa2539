// Rig: a small model with everything it computes with, for tests.
#pragma once
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "kernels/ops.h"
#include "kernels/philox.h"
#include "src/model/gpt.h"
#include "src/model/head.h"
#include "src/model/parameters.h"

namespace nll::test {

// A model of few enough numbers to differentiate each of them. The vocabulary is no multiple of its stored size.
inline ModelConfig tiny_model();

// Random ids in [0, vocabulary), a function of the seed.
inline std::vector<std::int32_t> random_tokens(std::uint64_t seed, std::int64_t count, std::int64_t vocabulary);

// What the language-model objective is, for a test.
struct Objective {
  double label_smoothing = 0, z_loss = 0;
};

struct Rig {
  explicit Rig(const ModelConfig& config, const HeadConfig& head = {});

  // Weights of a trained model's size: matrices N(0, 0.25), biases N(0, 0.1), norms 1 + N(0, 0.1).
  void randomize(std::uint64_t seed);
  std::vector<float> download(Tensor tensor) const;
  std::vector<std::int32_t> download_i32(Tensor tensor) const;
  // A tensor of its own that lives as long as the rig.
  Tensor upload(const std::vector<std::int32_t>& values, std::initializer_list<std::int64_t> dims);
  Tensor upload(const std::vector<float>& values, std::initializer_list<std::int64_t> dims);
  Tensor zeros(std::initializer_list<std::int64_t> dims);

  // Forward and backward of one micro-batch. The loss is the sum over its valid targets divided by `valid`, the valid
  // targets of the whole batch. Returns the log-probability of each target.
  std::vector<float> differentiate(Gpt& gpt, Head& scorer, const std::vector<std::int32_t>& token_ids,
                                   const std::vector<std::int32_t>& target_ids, std::int64_t sequences,
                                   std::int64_t valid, Into into, const Objective& objective = {},
                                   const DropoutKey* key = nullptr);

  ModelConfig model;
  HeadConfig head;
  Backend backend;
  Ops& ops;
  Device& device;
  ParameterTable table;
  std::vector<Buffer> buffers;
  Tensor weights, gradients;
  GptTensors w, g;
};

namespace detail {

inline double normal(std::uint64_t seed, std::uint64_t index) {
  const PhiloxBlock block = philox(seed, 0, index);
  const double radius = std::sqrt(-2 * std::log(1 - unit_double(block.word[0], block.word[1])));
  return radius * std::cos(6.283185307179586 * unit_double(block.word[2], block.word[3]));
}

}  // namespace detail

inline ModelConfig tiny_model() {
  ModelConfig model;
  model.layers = 2;
  model.heads = 2;
  model.width = 8;
  model.context = 6;
  model.vocabulary = 19;
  return model;
}

inline std::vector<std::int32_t> random_tokens(std::uint64_t seed, std::int64_t count, std::int64_t vocabulary) {
  std::vector<std::int32_t> tokens;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint32_t word = philox(seed, 1, static_cast<std::uint64_t>(i)).word[0];
    tokens.push_back(static_cast<std::int32_t>(word % static_cast<std::uint32_t>(vocabulary)));
  }
  return tokens;
}

inline Rig::Rig(const ModelConfig& config, const HeadConfig& head_config)
    : model(config),
      head(head_config),
      backend(make_backend("cpu", cpu_options(2))),
      ops(*backend.ops),
      device(*backend.device),
      table(ParameterTable::gpt2(config)) {
  weights = zeros({table.stored_elements()});
  gradients = zeros({table.stored_elements()});
  w = gpt_views(table, model, weights);
  g = gpt_views(table, model, gradients);
}

inline void Rig::randomize(std::uint64_t seed) {
  std::uint64_t index = 0;
  for (const ParameterSpec& spec : table.specs()) {
    std::vector<float> values;
    for (std::int64_t i = 0; i < spec.size(); ++i) {
      const double x = detail::normal(seed, index++);
      values.push_back(static_cast<float>(!spec.vector ? 0.25 * x : (spec.init == Init::ones ? 1 : 0) + 0.1 * x));
    }
    device.upload(parameter_view(spec, weights), values.data());
    device.synchronize();
  }
}

inline std::vector<float> Rig::download(Tensor tensor) const {
  std::vector<float> values(static_cast<std::size_t>(tensor.size()));
  device.download(values.data(), tensor);
  return values;
}

inline std::vector<std::int32_t> Rig::download_i32(Tensor tensor) const {
  std::vector<std::int32_t> values(static_cast<std::size_t>(tensor.size()));
  device.download(values.data(), tensor);
  return values;
}

inline Tensor Rig::upload(const std::vector<std::int32_t>& values, std::initializer_list<std::int64_t> dims) {
  buffers.push_back(device.allocate(static_cast<std::int64_t>(values.size()) * 4));
  const Tensor tensor = buffers.back().tensor(0, DType::i32, dims);
  device.upload(tensor, values.data());
  device.synchronize();
  return tensor;
}

inline Tensor Rig::upload(const std::vector<float>& values, std::initializer_list<std::int64_t> dims) {
  const Tensor tensor = zeros(dims);
  CHECK(tensor.size() == static_cast<std::int64_t>(values.size()));
  device.upload(tensor, values.data());
  device.synchronize();
  return tensor;
}

inline Tensor Rig::zeros(std::initializer_list<std::int64_t> dims) {
  std::int64_t bytes = 4;
  for (std::int64_t dim : dims) bytes *= dim;
  buffers.push_back(device.allocate(bytes));
  return buffers.back().tensor(0, DType::f32, dims);
}

inline std::vector<float> Rig::differentiate(Gpt& gpt, Head& scorer, const std::vector<std::int32_t>& token_ids,
                                             const std::vector<std::int32_t>& target_ids, std::int64_t sequences,
                                             std::int64_t valid, Into into, const Objective& objective,
                                             const DropoutKey* key) {
  const std::int64_t N = static_cast<std::int64_t>(token_ids.size());
  const Tensor tokens = upload(token_ids, {sequences, N / sequences}), targets = upload(target_ids, {N});
  const Tensor hidden = gpt.forward(w, tokens, key);
  // The z-loss needs ln d and m before the backward pass; the others know their coefficients beforehand.
  const TokenStatistics before = scorer.score(hidden, targets, w.wte, false);
  const std::vector<float> maximum = download(before.maximum), log_denominator = download(before.log_denominator);
  const double share = 1 / static_cast<double>(valid);
  std::vector<float> coefficients;
  for (std::size_t i = 0; i < target_ids.size(); ++i) {
    const double counted = target_ids[i] == ignore_index ? 0 : share;
    const double lse = static_cast<double>(maximum[i]) + log_denominator[i];
    coefficients.push_back(static_cast<float>(-(1 - objective.label_smoothing) * counted));
    coefficients.push_back(static_cast<float>(2 * objective.z_loss * lse * counted));
    coefficients.push_back(static_cast<float>(-objective.label_smoothing * counted));
    coefficients.push_back(0);
  }
  const TokenStatistics after =
      scorer.train(gpt.dhidden(), g.wte, into, hidden, targets, upload(coefficients, {N, 4}), w.wte);
  const std::vector<float> logp = download(after.logp);
  gpt.backward(w, g, into, gpt.dhidden());
  return logp;
}

}  // namespace nll::test
