// S new positions, C width, L layers.
#include "src/infer/decoder.h"

namespace nll {

ArenaPlan Decoder::plan_cache(const ModelConfig& model, const Numerics& numerics, CacheSlots* slots) {
  ArenaPlan plan("KV cache");
  CacheSlots made;
  for (std::int64_t l = 0; l < model.layers; ++l) {
    const std::string h = "h." + std::to_string(l) + ".";
    made.keys.push_back(plan.add(h + "keys", numerics.compute, {1, model.context, model.width}));
    made.values.push_back(plan.add(h + "values", numerics.compute, {1, model.context, model.width}));
  }
  if (slots != nullptr) *slots = made;
  return plan;
}

ArenaPlan Decoder::plan_activations(const ModelConfig& model, const Numerics& numerics, DecoderSlots* slots) {
  ArenaPlan plan("decoder activations");
  const std::int64_t S = model.context, C = model.width;
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

Decoder::Decoder(const ModelConfig& model, Ops& ops, Device& device, const Numerics& numerics)
    : model_(model),
      ops_(ops),
      device_(device),
      cache_(device, plan_cache(model, numerics, &cache_slots_)),
      activations_(device, plan_activations(model, numerics, &slots_)) {}

Tensor Decoder::read(const GptTensors& weights, std::span<const std::int32_t> tokens) {
  const std::int64_t S = static_cast<std::int64_t>(tokens.size()), C = model_.width;
  CHECK(S >= 1);
  CHECK(position_ + S <= model_.context);
  const auto rows = [&](int slot) { return activations_[slot].slice(0, S); };
  const auto sequence = [&](int slot, std::int64_t width) { return rows(slot).reshape({1, S, width}); };
  const Dropout none;
  const Tensor mean = rows(slots_.mean), rstd = rows(slots_.rstd), norm = rows(slots_.norm);
  const Tensor residual = rows(slots_.residual), middle = rows(slots_.middle), branch = rows(slots_.branch);

  device_.upload(rows(slots_.tokens), tokens.data());
  device_.synchronize();  // the caller's tokens are free again
  ops_.embedding(sequence(slots_.residual, C), rows(slots_.tokens).reshape({1, S}), weights.wte, weights.wpe, position_,
                 none);
  ops_.layernorm(norm, mean, rstd, residual, weights.layers[0].ln1_weight, weights.layers[0].ln1_bias);
  for (std::int64_t l = 0; l < model_.layers; ++l) {
    const std::size_t layer = static_cast<std::size_t>(l);
    const LayerTensors& w = weights.layers[layer];
    ops_.linear(rows(slots_.qkv), norm, w.qkv_weight, w.qkv_bias);
    ops_.attention_cached(sequence(slots_.attention, C), cache_[cache_slots_.keys[layer]],
                          cache_[cache_slots_.values[layer]], sequence(slots_.qkv, 3 * C), position_, model_.heads);
    ops_.linear(branch, rows(slots_.attention), w.attention_weight, w.attention_bias);
    ops_.residual_layernorm(middle, norm, mean, rstd, residual, branch, w.ln2_weight, w.ln2_bias, none);
    ops_.linear_gelu(rows(slots_.gelu), rows(slots_.pre), norm, w.fc_weight, w.fc_bias);
    ops_.linear(branch, rows(slots_.gelu), w.projection_weight, w.projection_bias);
    const bool last = l + 1 == model_.layers;
    ops_.residual_layernorm(residual, norm, mean, rstd, middle, branch,
                            last ? weights.final_weight : weights.layers[layer + 1].ln1_weight,
                            last ? weights.final_bias : weights.layers[layer + 1].ln1_bias, none);
  }
  position_ += S;
  return norm;
}

}  // namespace nll
