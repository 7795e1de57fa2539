#include "src/model/parameters.h"

#include <cmath>

#include "kernels/philox.h"

namespace nll {

namespace {

constexpr std::int64_t element_alignment = 64;  // 256 bytes of FP32: every tensor begins on a cache line

// Standard normal pairs by Box and Muller (1958), in double so that every platform rounds the same way to FP32.
void fill_normal(std::uint64_t seed, std::uint64_t parameter, float deviation, float* out, std::int64_t count) {
  const std::uint64_t stream = random_stream(RandomPurpose::initialize, parameter);
  for (std::int64_t i = 0; i < count; i += 2) {
    const PhiloxBlock block = philox(seed, stream, static_cast<std::uint64_t>(i / 2));
    const double u = 1.0 - unit_double(block.word[0], block.word[1]);  // (0, 1]
    const double angle = 6.283185307179586 * unit_double(block.word[2], block.word[3]);
    const double radius = std::sqrt(-2.0 * std::log(u));
    out[i] = static_cast<float>(deviation * radius * std::cos(angle));
    if (i + 1 < count) out[i + 1] = static_cast<float>(deviation * radius * std::sin(angle));
  }
}

}  // namespace

std::int64_t padded_vocabulary(std::int64_t vocabulary) {
  const std::int64_t unit = vocabulary >= 1024 ? 128 : 16;
  return (vocabulary + unit - 1) / unit * unit;
}

void ParameterTable::add(std::string name, std::int64_t rows, std::int64_t columns, bool vector, Init init,
                         float deviation) {
  ParameterSpec spec;
  spec.name = std::move(name);
  spec.rows = spec.stored_rows = rows;
  spec.columns = columns;
  spec.vector = vector;
  spec.init = init;
  spec.deviation = deviation;
  spec.decay = !vector;
  if (spec.name == "transformer.wte.weight") spec.stored_rows = padded_vocabulary(rows);
  spec.offset = elements_;
  parameters_ += checked_product(rows, columns);
  const std::int64_t end = elements_ + checked_product(spec.stored_rows, columns);
  elements_ = (end + element_alignment - 1) / element_alignment * element_alignment;
  checked_product(elements_, 16);  // weights, gradients and both moments in bytes
  specs_.push_back(std::move(spec));
}

ParameterTable ParameterTable::gpt2(const ModelConfig& model, bool scalar_head) {
  ParameterTable table;
  const std::int64_t C = model.width;
  checked_product(checked_product(C, C), 12);
  const float residual = static_cast<float>(0.02 / std::sqrt(2.0 * static_cast<double>(model.layers)));
  table.add("transformer.wte.weight", model.vocabulary, C, false, Init::normal, 0.02f);
  table.add("transformer.wpe.weight", model.context, C, false, Init::normal, 0.01f);
  for (std::int64_t l = 0; l < model.layers; ++l) {
    // A layer's matrices first, then its vectors: two decay spans a layer.
    const std::string h = "transformer.h." + std::to_string(l) + ".";
    table.add(h + "attn.c_attn.weight", C, 3 * C, false, Init::normal, 0.02f);
    table.add(h + "attn.c_proj.weight", C, C, false, Init::normal, residual);
    table.add(h + "mlp.c_fc.weight", C, 4 * C, false, Init::normal, 0.02f);
    table.add(h + "mlp.c_proj.weight", 4 * C, C, false, Init::normal, residual);
    table.add(h + "ln_1.weight", 1, C, true, Init::ones, 0);
    table.add(h + "ln_1.bias", 1, C, true, Init::zeros, 0);
    table.add(h + "attn.c_attn.bias", 1, 3 * C, true, Init::zeros, 0);
    table.add(h + "attn.c_proj.bias", 1, C, true, Init::zeros, 0);
    table.add(h + "ln_2.weight", 1, C, true, Init::ones, 0);
    table.add(h + "ln_2.bias", 1, C, true, Init::zeros, 0);
    table.add(h + "mlp.c_fc.bias", 1, 4 * C, true, Init::zeros, 0);
    table.add(h + "mlp.c_proj.bias", 1, C, true, Init::zeros, 0);
  }
  table.add("transformer.ln_f.weight", 1, C, true, Init::ones, 0);
  table.add("transformer.ln_f.bias", 1, C, true, Init::zeros, 0);
  if (scalar_head) {
    table.add(scalar_head_name, 1, C, false, Init::zeros, 0);  // a matrix of one row in files
    table.specs_.back().decay = false;
  }
  return table;
}

std::vector<DecaySpan> ParameterTable::decay_spans() const {
  std::vector<DecaySpan> spans;
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    const std::int64_t end = i + 1 < specs_.size() ? specs_[i + 1].offset : elements_;
    if (!spans.empty() && spans.back().decay == specs_[i].decay) {
      spans.back().end = end;
    } else {
      spans.push_back({specs_[i].offset, end, specs_[i].decay});
    }
  }
  return spans;
}

Tensor parameter_view(const ParameterSpec& spec, Tensor arena) {
  const Tensor stored = arena.slice(spec.offset, spec.stored_size());
  if (spec.vector) return stored.reshape({spec.columns});
  return stored.reshape({spec.stored_rows, spec.columns}).slice(0, spec.rows);
}

GptTensors gpt_views(const ParameterTable& table, const ModelConfig& model, Tensor arena) {
  GptTensors views;
  std::size_t next = 0;
  const auto take = [&] { return parameter_view(table.specs().at(next++), arena); };
  const ParameterSpec& wte = table.specs().at(next++);
  views.wte = arena.slice(wte.offset, wte.stored_size()).reshape({wte.stored_rows, wte.columns});
  views.wpe = take();
  for (std::int64_t l = 0; l < model.layers; ++l) {
    LayerTensors layer;
    for (Tensor* t : {&layer.qkv_weight, &layer.attention_weight, &layer.fc_weight, &layer.projection_weight,
                      &layer.ln1_weight, &layer.ln1_bias, &layer.qkv_bias, &layer.attention_bias, &layer.ln2_weight,
                      &layer.ln2_bias, &layer.fc_bias, &layer.projection_bias}) {
      *t = take();
    }
    views.layers.push_back(layer);
  }
  views.final_weight = take();
  views.final_bias = take();
  if (next < table.specs().size()) views.score = take().reshape({model.width});
  return views;
}

GptTensors gpt_views(const ParameterTable& table, const ModelConfig& model, Tensor master, Tensor rounded) {
  const GptTensors exact = gpt_views(table, model, master);
  GptTensors views = gpt_views(table, model, rounded);
  for (std::size_t l = 0; l < views.layers.size(); ++l) {
    views.layers[l].ln1_weight = exact.layers[l].ln1_weight;
    views.layers[l].ln1_bias = exact.layers[l].ln1_bias;
    views.layers[l].ln2_weight = exact.layers[l].ln2_weight;
    views.layers[l].ln2_bias = exact.layers[l].ln2_bias;
  }
  views.final_weight = exact.final_weight;
  views.final_bias = exact.final_bias;
  views.score = exact.score;
  return views;
}

void initialize(const ParameterTable& table, std::uint64_t seed, Device& device, Tensor arena,
                const ParameterProgress& progress) {
  std::vector<float> values;
  for (std::size_t i = 0; i < table.specs().size(); ++i) {
    const ParameterSpec& spec = table.specs()[i];
    values.assign(static_cast<std::size_t>(spec.size()), spec.init == Init::ones ? 1.0f : 0.0f);
    if (spec.init == Init::normal) fill_normal(seed, i, spec.deviation, values.data(), spec.size());
    device.upload(parameter_view(spec, arena), values.data());
    device.synchronize();  // `values` is reused
    if (progress) progress(spec.offset + spec.stored_size(), table.stored_elements());
  }
}

}  // namespace nll
