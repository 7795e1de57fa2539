// B batch, T time, N = B*T, C width, H heads, L layers.
#include "src/model/gpt.h"

#include "kernels/philox.h"

namespace nll {

namespace {

// Dropout sites in the order of the forward pass.
constexpr int embedding_site = 0;
int attention_site(std::int64_t layer) { return static_cast<int>(1 + 2 * layer); }
int mlp_site(std::int64_t layer) { return static_cast<int>(2 + 2 * layer); }
std::uint64_t dropout_sites(const ModelConfig& model) { return 2 * static_cast<std::uint64_t>(model.layers) + 1; }

}  // namespace

Recompute recompute_of(const std::string& name) {
  if (name == "gelu") return Recompute::gelu;
  if (name == "norm") return Recompute::norm;
  if (name == "block") return Recompute::block;
  CHECK(name == "none");
  return Recompute::none;
}

ArenaPlan Gpt::plan(const ModelConfig& model, std::int64_t sequences, std::int64_t context, Pass pass,
                    const Numerics& numerics, Recompute recompute, ActivationSlots* slots) {
  const std::int64_t N = checked_product(sequences, context), C = model.width;
  const bool training = pass == Pass::training;
  ArenaPlan plan(training ? "activations" : "evaluation activations");
  ActivationSlots made{};
  const auto stream = [&](const std::string& name) { return plan.add(name, numerics.residual, {N, C}); };
  const auto computed = [&](const std::string& name, std::int64_t width) {
    return plan.add(name, numerics.compute, {N, width});
  };
  const auto row = [&](const std::string& name) { return plan.add(name, DType::f32, {N}); };
  for (std::int64_t l = 0; l < model.layers; ++l) {
    const std::string h = "h." + std::to_string(l) + ".";
    // Those of layer 0, where they need not be kept.
    LayerActivations a = l > 0 ? made.layers[0] : LayerActivations{};
    const auto own = [&](Recompute from) { return l == 0 || (training && recompute < from); };
    if (l == 0 || training) a.residual = stream(h + "residual");
    if (own(Recompute::norm)) a.ln1 = computed(h + "ln_1", C);
    if (own(Recompute::block)) {
      a.ln1_mean = row(h + "ln_1.mean");
      a.ln1_rstd = row(h + "ln_1.rstd");
      a.qkv = computed(h + "qkv", 3 * C);
      a.attention = computed(h + "attention", C);
      a.lse = plan.add(h + "lse", DType::f32, {sequences, model.heads, context});
      a.middle = stream(h + "middle");
    }
    if (own(Recompute::norm)) a.ln2 = computed(h + "ln_2", C);
    if (own(Recompute::block)) {
      a.ln2_mean = row(h + "ln_2.mean");
      a.ln2_rstd = row(h + "ln_2.rstd");
      a.pre = computed(h + "pre", 4 * C);
    }
    if (own(Recompute::gelu)) a.gelu = computed(h + "gelu", 4 * C);
    made.layers.push_back(a);
  }
  made.residual = training ? stream("residual") : made.layers[0].residual;
  made.final = computed("ln_f", C);
  made.final_mean = row("ln_f.mean");
  made.final_rstd = row("ln_f.rstd");
  made.branch = computed("branch", C);
  if (training) {
    made.dhidden = computed("dhidden", C);
    made.dresidual = stream("dresidual");
    const bool copied = model.dropout > 0 || numerics.residual != numerics.compute;
    made.dbranch = copied ? computed("dbranch", C) : -1;
    made.dnorm = computed("dnorm", C);
    made.dattention = computed("dattention", C);
    made.dqkv = computed("dqkv", 3 * C);
    // On a GPU the product that makes it also reads `pre`, and a library's product may not write where it reads.
    made.dpre = numerics.gpu ? computed("dpre", 4 * C) : -1;
  }
  if (slots != nullptr) *slots = made;
  return plan;
}

Gpt::Gpt(const ModelConfig& model, Ops& ops, Device& device, std::int64_t sequences, std::int64_t context, Pass pass,
         const Numerics& numerics, Recompute recompute)
    : model_(model),
      ops_(ops),
      pass_(pass),
      recompute_(recompute),
      arena_(device, plan(model, sequences, context, pass, numerics, recompute, &slots_)),
      same_types_(numerics.residual == numerics.compute) {}

DropoutOffset Gpt::dropout_offset(const ModelConfig& model, std::int64_t step, std::int64_t first_row) {
  return {static_cast<std::uint64_t>(step) * dropout_sites(model), first_row};
}

Dropout Gpt::dropout(int site) const {
  Dropout drop;
  if (!use_dropout_) return drop;
  drop.rate = static_cast<float>(model_.dropout);
  drop.seed = key_.seed;
  const DropoutOffset now = dropout_offset(model_, key_.step, key_.first_row);
  drop.stream = random_stream(RandomPurpose::dropout, now.stream + static_cast<std::uint64_t>(site));
  drop.first_row = now.first_row;
  drop.offset = key_.offset;
  return drop;
}

Tensor Gpt::rows(int slot) const { return arena_[slot].slice(0, B_ * T_); }

Tensor Gpt::at(int slot, std::int64_t width) const { return rows(slot).reshape({B_, T_, width}); }

Tensor Gpt::lse(const LayerActivations& layer) const {
  const Tensor all = arena_[layer.lse];
  return all.reshape({all.size()}).slice(0, B_ * model_.heads * T_).reshape({B_, model_.heads, T_});
}

Tensor Gpt::forward(const GptTensors& weights, Tensor tokens, const DropoutKey* key) {
  begin_forward(weights, tokens, key);
  forward_layers(weights, 0, model_.layers);
  return hidden();
}

void Gpt::begin_forward(const GptTensors& weights, Tensor tokens, const DropoutKey* key) {
  B_ = tokens.dim(0);
  T_ = tokens.dim(1);
  CHECK(T_ <= model_.context);
  tokens_ = tokens;
  use_dropout_ = key != nullptr && model_.dropout > 0;
  if (key != nullptr) key_ = *key;
  const LayerActivations& a = slots_.layers[0];
  ops_.embedding(at(a.residual, model_.width), tokens, weights.wte, weights.wpe, 0, dropout(embedding_site));
  ops_.layernorm(rows(a.ln1), rows(a.ln1_mean), rows(a.ln1_rstd), rows(a.residual), weights.layers[0].ln1_weight,
                 weights.layers[0].ln1_bias);
}

void Gpt::forward_to_gelu(const GptTensors& weights, std::int64_t l) {
  const std::int64_t C = model_.width;
  const LayerActivations& a = slots_.layers[l];
  const LayerTensors& w = weights.layers[l];
  ops_.linear(rows(a.qkv), rows(a.ln1), w.qkv_weight, w.qkv_bias);
  ops_.attention(at(a.attention, C), lse(a), at(a.qkv, 3 * C), model_.heads);
  ops_.linear(rows(slots_.branch), rows(a.attention), w.attention_weight, w.attention_bias);
  ops_.residual_layernorm(rows(a.middle), rows(a.ln2), rows(a.ln2_mean), rows(a.ln2_rstd), rows(a.residual),
                          rows(slots_.branch), w.ln2_weight, w.ln2_bias, dropout(attention_site(l)));
  ops_.linear_gelu(rows(a.gelu), rows(a.pre), rows(a.ln2), w.fc_weight, w.fc_bias);
}

void Gpt::forward_layers(const GptTensors& weights, std::int64_t begin, std::int64_t end) {
  for (std::int64_t l = begin; l < end; ++l) {
    const LayerActivations& a = slots_.layers[l];
    const LayerTensors& w = weights.layers[l];
    forward_to_gelu(weights, l);
    ops_.linear(rows(slots_.branch), rows(a.gelu), w.projection_weight, w.projection_bias);
    // The branch joins the residual together with the norm that follows: the next block's first, or the final one.
    const bool last = l + 1 == model_.layers;
    const LayerActivations& n = slots_.layers[last ? l : l + 1];
    ops_.residual_layernorm(rows(last ? slots_.residual : n.residual), rows(last ? slots_.final : n.ln1),
                            rows(last ? slots_.final_mean : n.ln1_mean), rows(last ? slots_.final_rstd : n.ln1_rstd),
                            rows(a.middle), rows(slots_.branch),
                            last ? weights.final_weight : weights.layers[l + 1].ln1_weight,
                            last ? weights.final_bias : weights.layers[l + 1].ln1_bias, dropout(mlp_site(l)));
  }
}

// Every op here repeats one of the forward pass on the same values, so that what it makes has the same bits. The last
// layer's are still there.
void Gpt::recompute(const GptTensors& weights, std::int64_t l) {
  if (recompute_ == Recompute::none || l + 1 == model_.layers) return;
  const LayerActivations& a = slots_.layers[l];
  const LayerTensors& w = weights.layers[l];
  if (recompute_ >= Recompute::norm) {
    ops_.layernorm(rows(a.ln1), rows(a.ln1_mean), rows(a.ln1_rstd), rows(a.residual), w.ln1_weight, w.ln1_bias);
  }
  if (recompute_ == Recompute::block) return forward_to_gelu(weights, l);
  if (recompute_ == Recompute::norm) {
    ops_.layernorm(rows(a.ln2), rows(a.ln2_mean), rows(a.ln2_rstd), rows(a.middle), w.ln2_weight, w.ln2_bias);
  }
  ops_.gelu(rows(a.gelu), rows(a.pre));
}

// Without dropout the gradient of a branch is the gradient of the residual it was added to, where the types agree.
Tensor Gpt::masked() const { return use_dropout_ || !same_types_ ? rows(slots_.dbranch) : Tensor(); }

void Gpt::backward(const GptTensors& weights, const GptTensors& gradients, Into into, Tensor dhidden) {
  begin_backward(weights, gradients, into, dhidden);
  backward_layers(weights, gradients, into, 0, model_.layers);
  end_backward(gradients, into);
}

void Gpt::begin_backward(const GptTensors& weights, const GptTensors& gradients, Into into, Tensor dhidden) {
  CHECK(pass_ == Pass::training);
  ops_.layernorm_backward(rows(slots_.dresidual), Into::write, masked(), dropout(mlp_site(model_.layers - 1)),
                          gradients.final_weight, gradients.final_bias, into, dhidden, rows(slots_.residual),
                          weights.final_weight, rows(slots_.final_mean), rows(slots_.final_rstd));
}

void Gpt::backward_layers(const GptTensors& weights, const GptTensors& gradients, Into into, std::int64_t begin,
                          std::int64_t end) {
  const std::int64_t C = model_.width;
  const Tensor dresidual = rows(slots_.dresidual), dnorm = rows(slots_.dnorm), masked = this->masked();
  const Tensor dbranch = masked.empty() ? dresidual : masked;
  for (std::int64_t l = end - 1; l >= begin; --l) {
    recompute(weights, l);
    const LayerActivations& a = slots_.layers[l];
    const LayerTensors& w = weights.layers[l];
    const LayerTensors& g = gradients.layers[l];
    const Tensor dpre = rows(slots_.dpre < 0 ? a.pre : slots_.dpre);
    ops_.linear_backward_gelu(dpre, g.projection_weight, g.projection_bias, into, dbranch, rows(a.gelu),
                              w.projection_weight, rows(a.pre));
    ops_.linear_backward(dnorm, g.fc_weight, g.fc_bias, into, dpre, rows(a.ln2), w.fc_weight);
    ops_.layernorm_backward(dresidual, Into::add, masked, dropout(attention_site(l)), g.ln2_weight, g.ln2_bias, into,
                            dnorm, rows(a.middle), w.ln2_weight, rows(a.ln2_mean), rows(a.ln2_rstd));
    ops_.linear_backward(rows(slots_.dattention), g.attention_weight, g.attention_bias, into, dbranch,
                         rows(a.attention), w.attention_weight);
    ops_.attention_backward(at(slots_.dqkv, 3 * C), at(slots_.dattention, C), at(a.attention, C), lse(a),
                            at(a.qkv, 3 * C), model_.heads);
    ops_.linear_backward(dnorm, g.qkv_weight, g.qkv_bias, into, rows(slots_.dqkv), rows(a.ln1), w.qkv_weight);
    // Below the first block there is no branch; the embedding applies its own mask.
    ops_.layernorm_backward(dresidual, Into::add, l > 0 ? masked : Tensor(),
                            l > 0 ? dropout(mlp_site(l - 1)) : Dropout{}, g.ln1_weight, g.ln1_bias, into, dnorm,
                            rows(a.residual), w.ln1_weight, rows(a.ln1_mean), rows(a.ln1_rstd));
  }
}

void Gpt::end_backward(const GptTensors& gradients, Into into) {
  ops_.embedding_backward(gradients.wte, gradients.wpe, into, at(slots_.dresidual, model_.width), tokens_,
                          dropout(embedding_site));
}

double training_flops_per_token(const ModelConfig& model, std::int64_t context) {
  const double C = static_cast<double>(model.width), L = static_cast<double>(model.layers);
  const double parameters = static_cast<double>(padded_vocabulary(model.vocabulary)) * C +
                            static_cast<double>(model.context) * C + L * (12 * C * C + 13 * C) + 2 * C;
  return 6 * parameters + 6 * L * C * static_cast<double>(context);
}

}  // namespace nll
