// S new positions, n sequences of a step, C width, L layers.
#include "src/infer/decoder.h"

#include <algorithm>

namespace nll {

ArenaPlan Decoder::plan_cache(const ModelConfig& model, const Numerics& numerics, CacheSlots* slots,
                              std::int64_t sequences) {
  ArenaPlan plan("KV cache");
  CacheSlots made;
  for (std::int64_t l = 0; l < model.layers; ++l) {
    const std::string h = "h." + std::to_string(l) + ".";
    made.keys.push_back(plan.add(h + "keys", numerics.compute, {sequences, model.context, model.width}));
    made.values.push_back(plan.add(h + "values", numerics.compute, {sequences, model.context, model.width}));
  }
  if (slots != nullptr) *slots = made;
  return plan;
}

ArenaPlan Decoder::plan_activations(const ModelConfig& model, const Numerics& numerics, DecoderSlots* slots,
                                    std::int64_t sequences) {
  ArenaPlan plan("decoder activations");
  const std::int64_t C = model.width, S = std::max({model.context, sequences, step_rows});
  DecoderSlots made{};
  made.tokens = plan.add("tokens", DType::i32, {S});
  made.residual = plan.add("residual", numerics.residual, {S, C});
  made.middle = plan.add("middle", numerics.residual, {S, C});
  made.norm = plan.add("norm", numerics.compute, {S, C});
  made.mean = plan.add("mean", DType::f32, {S});
  made.rstd = plan.add("rstd", DType::f32, {S});
  made.qkv = plan.add("qkv", numerics.compute, {S, 3 * C});
  made.attention = plan.add("attention", numerics.compute, {S, C});
  made.branch = plan.add("branch", numerics.compute, {S, C});
  made.pre = plan.add("pre", numerics.compute, {S, 4 * C});
  made.gelu = plan.add("gelu", numerics.compute, {S, 4 * C});
  if (slots != nullptr) *slots = made;
  return plan;
}

Decoder::Decoder(const ModelConfig& model, Ops& ops, Device& device, const Numerics& numerics, std::int64_t sequences)
    : model_(model),
      ops_(ops),
      device_(device),
      cache_(device, plan_cache(model, numerics, &cache_slots_, sequences)),
      activations_(device, plan_activations(model, numerics, &slots_, sequences)),
      positions_(static_cast<std::size_t>(sequences)) {}

Tensor Decoder::read(const GptTensors& weights, std::span<const std::int32_t> tokens, std::int64_t sequence) {
  const std::int64_t S = static_cast<std::int64_t>(tokens.size()), C = model_.width;
  std::int64_t& position = positions_.at(static_cast<std::size_t>(sequence));
  CHECK(S >= 1);
  CHECK(position + S <= model_.context);
  const auto rows = [&](int slot, std::int64_t width) { return activations_[slot].slice(0, S).reshape({1, S, width}); };
  const Tensor ids = activations_[slots_.tokens].slice(0, S);
  device_.upload(ids, tokens.data());
  device_.synchronize();  // the caller's tokens are free again
  ops_.embedding(rows(slots_.residual, C), ids.reshape({1, S}), weights.wte, weights.wpe, position, Dropout{});
  const Tensor hidden = layers(weights, S, [&](std::size_t layer) {
    ops_.attention_cached(rows(slots_.attention, C), cache_[cache_slots_.keys[layer]].slice(sequence, 1),
                          cache_[cache_slots_.values[layer]].slice(sequence, 1), rows(slots_.qkv, 3 * C), position,
                          model_.heads);
  });
  position += S;
  return hidden;
}

Tensor Decoder::step(const GptTensors& weights, std::span<const std::int32_t> tokens) {
  const std::int64_t n = static_cast<std::int64_t>(tokens.size()), C = model_.width;
  CHECK(n >= 1);
  CHECK(n <= sequences());
  for (std::int64_t i = 0; i < n; ++i) CHECK(!full(i));
  // Neighbours of one position are one call, as completions of one prompt are mostly.
  const auto for_each_run = [&](const std::function<void(std::int64_t begin, std::int64_t count)>& work) {
    for (std::int64_t begin = 0, end = 0; begin < n; begin = end) {
      while (end < n && position(end) == position(begin)) ++end;
      work(begin, end - begin);
    }
  };
  const auto rows = [&](int slot, std::int64_t begin, std::int64_t count, std::int64_t width) {
    return activations_[slot].slice(begin, count).reshape({count, 1, width});
  };
  const Tensor ids = activations_[slots_.tokens];
  device_.upload(ids.slice(0, n), tokens.data());
  device_.synchronize();
  for_each_run([&](std::int64_t begin, std::int64_t count) {
    ops_.embedding(rows(slots_.residual, begin, count, C), ids.slice(begin, count).reshape({count, 1}), weights.wte,
                   weights.wpe, position(begin), Dropout{});
  });
  const std::int64_t filled = std::max(n, step_rows);
  const Tensor hidden = layers(weights, filled, [&](std::size_t layer) {
    for_each_run([&](std::int64_t begin, std::int64_t count) {
      ops_.attention_cached(rows(slots_.attention, begin, count, C),
                            cache_[cache_slots_.keys[layer]].slice(begin, count),
                            cache_[cache_slots_.values[layer]].slice(begin, count),
                            rows(slots_.qkv, begin, count, 3 * C), position(begin), model_.heads);
    });
  });
  for (std::int64_t i = 0; i < n; ++i) ++positions_[static_cast<std::size_t>(i)];
  return hidden;
}

void Decoder::copy(std::int64_t to, std::int64_t from, std::int64_t positions) {
  CHECK(to != from);
  CHECK(positions <= position(from));
  const auto rows = [&](int slot, std::int64_t sequence) {
    return cache_[slot].slice(sequence, 1).reshape({model_.context, model_.width}).slice(0, positions);
  };
  for (const std::vector<int>* slots : {&cache_slots_.keys, &cache_slots_.values})
    for (int slot : *slots) device_.copy(rows(slot, to), rows(slot, from));
  positions_.at(static_cast<std::size_t>(to)) = positions;
}

Tensor Decoder::layers(const GptTensors& weights, std::int64_t count,
                       const std::function<void(std::size_t layer)>& attend) {
  const auto rows = [&](int slot) { return activations_[slot].slice(0, count); };
  const Dropout none;
  const Tensor mean = rows(slots_.mean), rstd = rows(slots_.rstd), norm = rows(slots_.norm);
  const Tensor residual = rows(slots_.residual), middle = rows(slots_.middle), branch = rows(slots_.branch);
  ops_.layernorm(norm, mean, rstd, residual, weights.layers[0].ln1_weight, weights.layers[0].ln1_bias);
  for (std::size_t layer = 0; layer < weights.layers.size(); ++layer) {
    const LayerTensors& w = weights.layers[layer];
    ops_.linear(rows(slots_.qkv), norm, w.qkv_weight, w.qkv_bias);
    attend(layer);
    ops_.linear(branch, rows(slots_.attention), w.attention_weight, w.attention_bias);
    ops_.residual_layernorm(middle, norm, mean, rstd, residual, branch, w.ln2_weight, w.ln2_bias, none);
    ops_.linear_gelu(rows(slots_.gelu), rows(slots_.pre), norm, w.fc_weight, w.fc_bias);
    ops_.linear(branch, rows(slots_.gelu), w.projection_weight, w.projection_bias);
    const bool last = layer + 1 == weights.layers.size();
    ops_.residual_layernorm(residual, norm, mean, rstd, middle, branch,
                            last ? weights.final_weight : weights.layers[layer + 1].ln1_weight,
                            last ? weights.final_bias : weights.layers[layer + 1].ln1_bias, none);
  }
  return norm;
}

}  // namespace nll
