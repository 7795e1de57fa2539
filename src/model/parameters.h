// THE TABLE of parameters: name, shape, initialisation and weight decay of each, one row each. Allocation,
// initialisation, optimizer groups, checkpoints and import all walk it. Names and shapes are those of Hugging Face's
// GPT-2.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "kernels/tensor.h"
#include "src/config/config.h"

namespace nll {

enum class Init { zeros, ones, normal };

struct ParameterSpec {
  std::string name;                    // "transformer.h.0.attn.c_attn.weight"
  std::int64_t rows = 1, columns = 1;  // as published; a vector has one row
  bool vector = false;
  std::int64_t stored_rows = 1;  // >= rows: the vocabulary is padded so that GEMMs run at full speed; padding stays 0
  Init init = Init::zeros;
  float deviation = 0;      // of Init::normal
  bool decay = false;       // weight decay applies
  std::int64_t offset = 0;  // elements from the start of an arena

  std::int64_t size() const { return rows * columns; }
  std::int64_t stored_size() const { return stored_rows * columns; }
  // As Hugging Face writes it, without padding: one dimension for a vector.
  std::vector<std::int64_t> published_shape() const {
    if (vector) return {columns};
    return {rows, columns};
  }
};

// Neighbours in the arena that share their weight decay: one optimizer call each.
struct DecaySpan {
  std::int64_t begin = 0, end = 0;  // elements
  bool decay = false;
};

// Of the scalar head, in tables and files.
inline constexpr const char* scalar_head_name = "score.weight";

class ParameterTable {
 public:
  // GPT-2: N(0, 0.02), positions N(0, 0.01), residual projections N(0, 0.02 / sqrt(2 layers)), as in OpenAI's source
  // and paper (Radford et al. 2019). `scalar_head`: scalar_head_name (1,C) comes last, 0 at first and without decay;
  // so Hugging Face's GPT2ForSequenceClassification calls it. Throws Error(usage) when a size does not fit 63 bits.
  static ParameterTable gpt2(const ModelConfig& model, bool scalar_head = false);

  bool scalar_head() const { return !specs_.empty() && specs_.back().name == scalar_head_name; }
  const std::vector<ParameterSpec>& specs() const { return specs_; }
  std::int64_t parameters() const { return parameters_; }     // as published, the tied head counted once
  std::int64_t stored_elements() const { return elements_; }  // of one arena, padding included
  std::vector<DecaySpan> decay_spans() const;

 private:
  void add(std::string name, std::int64_t rows, std::int64_t columns, bool vector, Init init, float deviation);
  std::vector<ParameterSpec> specs_;
  std::int64_t parameters_ = 0, elements_ = 0;
};

// Rows in which the vocabulary is stored: a multiple of 128 where that costs little.
std::int64_t padded_vocabulary(std::int64_t vocabulary);

// The views of one arena (weights, gradients, or a moment) that the model computes with.
struct LayerTensors {
  Tensor ln1_weight, ln1_bias, qkv_weight, qkv_bias, attention_weight, attention_bias;
  Tensor ln2_weight, ln2_bias, fc_weight, fc_bias, projection_weight, projection_bias;
};
struct GptTensors {
  Tensor wte, wpe;  // (Vp,C), (context,C)
  std::vector<LayerTensors> layers;
  Tensor final_weight, final_bias;
  Tensor score;  // (C) of the scalar head, always FP32; empty: the table has none
};
GptTensors gpt_views(const ParameterTable& table, const ModelConfig& model, Tensor arena);
// Weights to compute with where those that are multiplied or looked up are `rounded` copies: norms
// and the scalar head come from `master`.
GptTensors gpt_views(const ParameterTable& table, const ModelConfig& model, Tensor master, Tensor rounded);

// The published part of one parameter in an arena: (rows, columns), or (columns) for a vector.
Tensor parameter_view(const ParameterSpec& spec, Tensor arena);

// Told elements done and in all, after each parameter.
using ParameterProgress = std::function<void(std::int64_t done, std::int64_t total)>;

// Fills the weights: a function of (seed, parameter, element) only.
void initialize(const ParameterTable& table, std::uint64_t seed, Device& device, Tensor arena,
                const ParameterProgress& progress = {});

}  // namespace nll
