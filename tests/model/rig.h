// Rig: a small model with everything it computes with, for tests.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "kernels/ops.h"
#include "src/model/gpt.h"
#include "src/model/head.h"
#include "src/model/parameters.h"

namespace nll::test {

// A model of few enough numbers to differentiate each of them. The vocabulary is no multiple of its stored size.
ModelConfig tiny_model();

// Random ids in [0, vocabulary), a function of the seed.
std::vector<std::int32_t> random_tokens(std::uint64_t seed, std::int64_t count, std::int64_t vocabulary);

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

}  // namespace nll::test
