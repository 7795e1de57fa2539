#include "src/train/model_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "kernels/ops.h"
#include "src/train/host_copy.h"

namespace nll {

namespace {

using Json = nlohmann::ordered_json;

[[noreturn]] void refuse(const std::string& place, const std::string& what) {
  throw Error(Exit::bad_data, place + ": " + what);
}

std::int64_t positive(const Json& config, const char* key, const std::string& place) {
  const auto found = config.find(key);
  if (found == config.end()) refuse(place, fmt::format("{} is missing", key));
  if (!found->is_number_integer() || *found <= 0 || *found > (std::int64_t{1} << 31)) {
    refuse(place, fmt::format("{}: expected a whole number above 0, found {}", key, found->dump().substr(0, 40)));
  }
  return found->get<std::int64_t>();
}

// A key that must have one of `allowed` where it is given at all.
void only(const Json& config, const char* key, const std::vector<Json>& allowed, const std::string& place) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return;
  for (const Json& value : allowed) {
    if (*found == value) return;
  }
  refuse(place, fmt::format("{}: {} is not supported (expected {})", key, found->dump().substr(0, 40),
                            allowed.front().dump()));
}

double fraction(const Json& config, const char* key) {
  const auto found = config.find(key);
  return found != config.end() && found->is_number() ? found->get<double>() : 0.0;
}

const std::string prefix = "transformer.";
const std::string embedding = "transformer.wte.weight";

// Old Hugging Face folders store the causal mask beside the weights.
bool mask_buffer(const std::string& name) {
  return name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias");
}

// The name under which a folder stores a parameter, with or without the prefix; empty: not at all.
std::string stored_name(const SafetensorsFile& file, const ParameterSpec& spec) {
  if (file.header().tensors.contains(spec.name)) return spec.name;
  if (!spec.name.starts_with(prefix)) return {};
  const std::string bare = spec.name.substr(prefix.size());
  return file.header().tensors.contains(bare) ? bare : std::string();
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < 10; ++i) text += (i ? ", " : "") + names[i];
  if (names.size() > 10) text += fmt::format(" and {} more", names.size() - 10);
  return text;
}

// Reads one tensor through host memory; returns the host copy.
Buffer read_into(const SafetensorsFile& file, const std::string& name, const ParameterSpec& spec, Device& device,
                 Tensor view) {
  Buffer host = host_buffer(checked_product(view.size(), 4));
  const Tensor values =
      spec.vector ? host.tensor(0, DType::f32, {spec.columns}) : host.tensor(0, DType::f32, {spec.rows, spec.columns});
  file.read(name, values);
  device.upload(view, values.data());
  device.synchronize();
  return host;
}

}  // namespace

PublishedModel parse_published_config(const std::string& text, const std::string& place) {
  const Json config = Json::parse(text, nullptr, false);
  if (config.is_discarded() || !config.is_object()) refuse(place, "not a JSON object");
  const auto type = config.find("model_type");
  if (type == config.end() || *type != "gpt2") {
    refuse(place, fmt::format("model_type: expected \"gpt2\", found {}",
                              type == config.end() ? "nothing" : type->dump().substr(0, 40)));
  }
  PublishedModel result;
  ModelConfig& model = result.model;
  model.vocabulary = positive(config, "vocab_size", place);
  model.context = positive(config, "n_positions", place);
  model.width = positive(config, "n_embd", place);
  model.layers = positive(config, "n_layer", place);
  model.heads = positive(config, "n_head", place);
  if (model.width % model.heads != 0)
    refuse(place, fmt::format("n_head: {} does not divide n_embd {}", model.heads, model.width));
  model.dropout = fraction(config, "resid_pdrop");
  if (!(model.dropout >= 0 && model.dropout < 1))
    refuse(place, fmt::format("resid_pdrop: expected 0 to 1, found {}", model.dropout));
  only(config, "n_inner", {4 * model.width}, place);
  only(config, "activation_function", {"gelu_new", "gelu_pytorch_tanh"}, place);
  only(config, "layer_norm_epsilon", {1e-5}, place);
  only(config, "scale_attn_weights", {true}, place);
  only(config, "scale_attn_by_inverse_layer_idx", {false}, place);
  only(config, "add_cross_attention", {false}, place);
  only(config, "tie_word_embeddings", {true}, place);
  result.head.softcap = fraction(config, "final_logit_softcapping");
  return result;
}

std::string published_config(const ModelConfig& model, const HeadConfig& head, std::int32_t end_of_text,
                             PublishedKind kind) {
  const bool reward = kind == PublishedKind::reward_model;
  Json config = {{"model_type", "gpt2"},
                 {"architectures", {reward ? "GPT2ForSequenceClassification" : "GPT2LMHeadModel"}},
                 {"vocab_size", model.vocabulary},
                 {"n_positions", model.context},
                 {"n_ctx", model.context},
                 {"n_embd", model.width},
                 {"n_layer", model.layers},
                 {"n_head", model.heads},
                 {"n_inner", nullptr},
                 {"activation_function", "gelu_new"},
                 {"layer_norm_epsilon", 1e-5},
                 {"initializer_range", 0.02},
                 {"resid_pdrop", model.dropout},
                 {"embd_pdrop", model.dropout},
                 {"attn_pdrop", 0.0},
                 {"scale_attn_weights", true},
                 {"tie_word_embeddings", true},
                 {"use_cache", true},
                 {"torch_dtype", "float32"}};
  if (reward) {
    config["num_labels"] = 1;
    config["id2label"] = {{"0", "LABEL_0"}};
    config["label2id"] = {{"LABEL_0", 0}};
  }
  if (head.softcap > 0) config["final_logit_softcapping"] = head.softcap;
  if (end_of_text >= 0) {
    config["bos_token_id"] = end_of_text;
    config["eos_token_id"] = end_of_text;
  }
  return config.dump(2) + "\n";
}

bool has_scalar_head(const CheckpointFolder& folder) {
  return folder.weights().header().tensors.contains(scalar_head_name);
}

void check_weights(const CheckpointFolder& folder, const std::string& place, const ParameterTable& table) {
  const SafetensorsFile file = folder.weights();
  const auto& stored = file.header().tensors;
  std::vector<std::string> problems;
  std::set<std::string> used;
  for (const ParameterSpec& spec : table.specs()) {
    const std::string name = stored_name(file, spec);
    if (name.empty()) {
      if (spec.name == scalar_head_name) continue;
      problems.push_back(spec.name + " is missing");
      continue;
    }
    used.insert(name);
    const std::vector<std::int64_t> expected = spec.published_shape();
    if (stored.at(name).shape != expected) {
      problems.push_back(fmt::format("{} has shape ({}), expected ({})", name, fmt::join(stored.at(name).shape, ", "),
                                     fmt::join(expected, ", ")));
    }
    const auto head = stored.find("lm_head.weight");
    if (spec.name == embedding && head != stored.end() && head->second.shape != expected) {
      problems.push_back("lm_head.weight has another shape than the embedding");
    }
  }
  for (const auto& [name, entry] : stored) {
    if (!used.contains(name) && !mask_buffer(name) && name != "lm_head.weight" && name != scalar_head_name)
      problems.push_back(name + " is not part of this model");
  }
  if (!problems.empty()) refuse(place, listed(problems));
}

void load_weights(const CheckpointFolder& folder, const std::string& place, const ParameterTable& table, Device& device,
                  Tensor arena, const ParameterProgress& progress) {
  check_weights(folder, place, table);
  const SafetensorsFile file = folder.weights();
  for (const ParameterSpec& spec : table.specs()) {
    if (spec.name == scalar_head_name && !file.header().tensors.contains(spec.name)) {
      device.zero(parameter_view(spec, arena));
      continue;
    }
    const Buffer values = read_into(file, stored_name(file, spec), spec, device, parameter_view(spec, arena));
    if (progress) progress(spec.offset + spec.stored_size(), table.stored_elements());
    if (spec.name != embedding || !file.header().tensors.contains("lm_head.weight")) continue;
    const Buffer head = host_buffer(values.bytes());
    file.read("lm_head.weight", head.tensor(0, DType::f32, {spec.rows, spec.columns}));
    if (std::memcmp(head.data(), values.data(), static_cast<std::size_t>(values.bytes())) != 0) {
      refuse(place, "lm_head.weight differs from the embedding, and an untied head is not supported");
    }
  }
}

std::vector<NamedTensor> named_tensors(const ParameterTable& table, Device& device, Tensor arena,
                                       const std::string& name_prefix, std::vector<Buffer>& staging) {
  std::vector<NamedTensor> named;
  const bool readable = device.info().kind == "cpu";
  for (const ParameterSpec& spec : table.specs()) {
    Tensor view = parameter_view(spec, arena);
    if (!readable) {
      staging.push_back(host_buffer(checked_product(view.size(), 4)));
      const Tensor copy = spec.vector ? staging.back().tensor(0, DType::f32, {spec.columns})
                                      : staging.back().tensor(0, DType::f32, {spec.rows, spec.columns});
      device.download(copy.data(), view);
      view = copy;
    }
    named.push_back({name_prefix + spec.name, view});
  }
  return named;
}

OpenModel open_model(FileOps& files, const std::string& path, Backend& backend, const PrecisionConfig& precision,
                     const std::function<void(const std::string& folder, const std::string& why)>& refused,
                     const ParameterProgress& progress) {
  OpenModel opened;
  Device& device = *backend.device;
  Config config;
  config.precision = precision;
  opened.numerics = resolve_numerics(config, device.info());
  opened.folder = resolve_checkpoint(files, path, refused);
  const CheckpointFolder folder(files, opened.folder);
  opened.published = parse_published_config(folder.text("config.json"), opened.folder + "/config.json");
  opened.table = ParameterTable::gpt2(opened.published.model, has_scalar_head(folder));
  opened.storage = device.allocate(checked_product(opened.table.stored_elements(), 4));
  const Tensor arena = opened.storage.tensor(0, DType::f32, {opened.table.stored_elements()});
  load_weights(folder, opened.folder, opened.table, device, arena, progress);
  if (opened.numerics.rounded()) {
    opened.rounded_storage =
        device.allocate(checked_product(opened.table.stored_elements(), bytes_of(opened.numerics.compute)));
    const Tensor copy = opened.rounded_storage.tensor(0, opened.numerics.compute, {opened.table.stored_elements()});
    backend.ops->convert(copy, arena);
    opened.weights = gpt_views(opened.table, opened.published.model, arena, copy);
  } else {
    opened.weights = gpt_views(opened.table, opened.published.model, arena);
  }
  if (folder.has("tokenizer.json") || folder.has("vocab.bpe")) opened.tokenizer = Tokenizer::load(opened.folder);
  return opened;
}

}  // namespace nll
