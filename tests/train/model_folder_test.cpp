// Hugging Face folders as other programs write them.
#include "src/train/model_folder.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <functional>
#include <set>

#include "src/train/checkpoint_texts.h"
#include "tests/train/rig.h"

namespace nll::test {

namespace {

ModelConfig small_model() {
  return {.layers = 1, .heads = 2, .width = 8, .context = 6, .vocabulary = 20, .dropout = 0};
}

// A folder made tensor by tensor.
class Published {
 public:
  Published() : table_(ParameterTable::gpt2(small_model())), backend_(make_backend("cpu", cpu_options(1))) {
    storage_ = backend_.device->allocate(4 * table_.stored_elements());
    arena_ = storage_.tensor(0, DType::f32, {table_.stored_elements()});
    initialize(table_, 3, *backend_.device, arena_);
    // Values that FP16 and BF16 hold exactly.
    for (std::int64_t i = 0; i < arena_.size(); ++i) {
      arena_.as<float>()[i] = static_cast<float>(static_cast<int>(arena_.as<float>()[i] * 4096) % 128) / 64;
    }
    for (const ParameterSpec& spec : table_.specs()) tensors_.push_back({spec.name, parameter_view(spec, arena_)});
  }

  std::vector<NamedTensor>& tensors() { return tensors_; }
  const ParameterTable& table() const { return table_; }
  Tensor tensor(const std::string& name) const {
    for (const NamedTensor& t : tensors_) {
      if (t.name == name) return t.tensor;
    }
    throw std::logic_error(name);
  }

  // FP32 values rewritten as 16-bit ones.
  void narrow(DType type) {
    for (NamedTensor& t : tensors_) {
      auto& bits = narrowed_.emplace_back(static_cast<std::size_t>(t.tensor.size()));
      for (std::int64_t i = 0; i < t.tensor.size(); ++i) {
        std::uint32_t word;
        std::memcpy(&word, t.tensor.as<float>() + i, 4);
        const std::uint32_t sign = word >> 31, exponent = word >> 23 & 0xff, mantissa = word & 0x7fffff;
        const auto half =
            static_cast<std::uint16_t>(sign << 15 | (exponent == 0 ? 0 : (exponent - 112) << 10 | mantissa >> 13));
        bits[static_cast<std::size_t>(i)] = type == DType::bf16 ? static_cast<std::uint16_t>(word >> 16) : half;
      }
      t.tensor = t.tensor.rank() == 1 ? Tensor(bits.data(), type, {t.tensor.dim(0)})
                                      : Tensor(bits.data(), type, {t.tensor.dim(0), t.tensor.dim(1)});
    }
  }

  std::string write(const Folder& folder) const {
    const std::string path = folder / "published";
    std::filesystem::create_directories(path);
    write_file(path + "/config.json", published_config(small_model(), HeadConfig{}, -1));
    const std::string header = make_safetensors_header(tensors_, {{"format", "pt"}});
    const std::uint64_t length = header.size();
    std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
    bytes += header;
    for (const NamedTensor& t : tensors_)
      bytes.append(static_cast<const char*>(t.tensor.data()), static_cast<std::size_t>(t.tensor.bytes()));
    write_file(path + "/model.safetensors", bytes);
    return path;
  }

  void expect_loads(const Folder& folder) const {
    const OpenModel model = open_model(posix_file_ops(), write(folder), backend_, {}, {});
    for (const ParameterSpec& spec : table_.specs()) {
      const Tensor expected = parameter_view(spec, arena_);
      const Tensor found = parameter_view(spec, model.storage.tensor(0, DType::f32, {table_.stored_elements()}));
      EXPECT_EQ(std::memcmp(expected.data(), found.data(), static_cast<std::size_t>(expected.bytes())), 0) << spec.name;
    }
  }

  std::string refusal(const Folder& folder) const {
    try {
      open_model(posix_file_ops(), write(folder), backend_, {}, {});
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::bad_data);
      return error.what();
    }
    return "accepted";
  }

 private:
  ParameterTable table_;
  mutable Backend backend_;  // opening allocates and uploads, which changes nothing of this
  Buffer storage_;
  Tensor arena_;
  std::vector<NamedTensor> tensors_;
  std::vector<std::vector<std::uint16_t>> narrowed_;
};

}  // namespace

TEST(ModelFolder, NamesWithAndWithoutThePrefixLoad) {
  Folder folder;
  Published published;
  published.expect_loads(folder);
  for (NamedTensor& t : published.tensors()) t.name = t.name.substr(std::strlen("transformer."));
  published.expect_loads(folder);
}

TEST(ModelFolder, HalfPrecisionIsWidenedExactly) {
  for (DType type : {DType::f16, DType::bf16}) {
    Folder folder;
    Published published;
    published.narrow(type);
    published.expect_loads(folder);
  }
}

TEST(ModelFolder, AStoredHeadThatEqualsTheEmbeddingIsAcceptedAndAnotherRefused) {
  Folder folder;
  Published published;
  const Tensor embedding = published.tensor("transformer.wte.weight");
  published.tensors().push_back({"lm_head.weight", embedding});
  published.expect_loads(folder);
  std::vector<float> other(embedding.as<float>(), embedding.as<float>() + embedding.size());
  other[7] += 1;
  published.tensors().back().tensor = Tensor(other.data(), DType::f32, {embedding.dim(0), embedding.dim(1)});
  EXPECT_EQ(published.refusal(folder),
            folder / "published: lm_head.weight differs from the embedding, and an untied head is not supported");
}

// A scalar head of `labels` rows.
std::vector<float> add_scalar_head(Published& published, std::int64_t labels = 1) {
  std::vector<float> weights;
  for (std::int64_t i = 0; i < labels * small_model().width; ++i) weights.push_back(static_cast<float>(i) - 2.5f);
  published.tensors().push_back({"score.weight", Tensor(weights.data(), DType::f32, {labels, small_model().width})});
  return weights;
}

// What load_weights makes of the folder in an arena of `table` that was full of ones.
std::vector<float> loaded(const std::string& folder, const ParameterTable& table) {
  Backend backend = make_backend("cpu", cpu_options(1));
  std::vector<float> values(static_cast<std::size_t>(table.stored_elements()), 1.0f);
  load_weights(CheckpointFolder(posix_file_ops(), folder), folder, table, *backend.device,
               Tensor(values.data(), DType::f32, {table.stored_elements()}));
  return values;
}

TEST(ModelFolder, AStoredScalarHeadIsOpened) {
  Folder folder;
  Published published;
  Backend backend = make_backend("cpu", cpu_options(1));
  EXPECT_TRUE(open_model(posix_file_ops(), published.write(folder), backend, {}, {}).weights.score.empty());
  const std::vector<float> weights = add_scalar_head(published);
  published.expect_loads(folder);
  const OpenModel model = open_model(posix_file_ops(), published.write(folder), backend, {}, {});
  ASSERT_EQ(model.weights.score.shape_text(), "(8)");
  EXPECT_EQ(std::memcmp(model.weights.score.data(), weights.data(), weights.size() * sizeof(float)), 0);
}

TEST(ModelFolder, AScalarHeadMayBeMissingFromTheFolderOrFromTheTable) {
  Folder folder;
  Published published;
  const ParameterTable with = ParameterTable::gpt2(small_model(), true);
  const auto score = static_cast<std::size_t>(with.specs().back().offset);
  const std::vector<float> started = loaded(published.write(folder), with);
  for (std::size_t i = score; i < score + 8; ++i) EXPECT_EQ(started[i], 0.0f);
  const std::vector<float> without = loaded(published.write(folder), published.table());
  const std::vector<float> weights = add_scalar_head(published);
  EXPECT_EQ(loaded(published.write(folder), published.table()), without);
  const std::vector<float> stored = loaded(published.write(folder), with);
  EXPECT_TRUE(std::equal(weights.begin(), weights.end(), stored.begin() + static_cast<std::int64_t>(score)));
}

TEST(ModelFolder, AScalarHeadOfSeveralLabelsIsRefused) {
  Folder folder;
  Published published;
  const std::vector<float> weights = add_scalar_head(published, 2);
  EXPECT_EQ(published.refusal(folder), folder / "published: score.weight has shape (2, 8), expected (1, 8)");
}

TEST(ModelFolder, ARewardModelIsPublishedAsAClassifierOfOneLabel) {
  const std::string config = published_config(small_model(), HeadConfig{}, 3, PublishedKind::reward_model);
  EXPECT_NE(config.find("\"GPT2ForSequenceClassification\""), std::string::npos) << config;
  EXPECT_NE(config.find("\"num_labels\": 1"), std::string::npos) << config;
  EXPECT_EQ(config.find("GPT2LMHeadModel"), std::string::npos) << config;
  EXPECT_EQ(parse_published_config(config, "config.json").model.width, 8);
  Backend backend = make_backend("cpu", cpu_options(1));
  const ParameterTable table = ParameterTable::gpt2(small_model(), true);
  const Buffer storage = backend.device->allocate(4 * table.stored_elements());
  std::vector<Buffer> staging;
  const auto saved =
      named_tensors(table, *backend.device, storage.tensor(0, DType::f32, {table.stored_elements()}), "", staging);
  EXPECT_EQ(saved.back().name, "score.weight");
  EXPECT_EQ(saved.back().tensor.shape_text(), "(1, 8)");
}

TEST(ModelFolder, StoredMaskBuffersAreIgnored) {
  Folder folder;
  Published published;
  std::vector<float> mask(36, 1.0f);
  published.tensors().push_back({"transformer.h.0.attn.bias", Tensor(mask.data(), DType::f32, {1, 1, 6, 6})});
  published.tensors().push_back({"h.0.attn.masked_bias", Tensor(mask.data(), DType::f32, {1})});
  published.expect_loads(folder);
}

TEST(ModelFolder, MissingUnknownAndMisshapenTensorsAreNamedTogether) {
  Folder folder;
  Published published;
  std::vector<float> values(100, 0.0f);
  auto& tensors = published.tensors();
  std::erase_if(tensors, [](const NamedTensor& t) { return t.name == "transformer.ln_f.bias"; });
  for (NamedTensor& t : tensors) {
    if (t.name == "transformer.wpe.weight") t.tensor = Tensor(values.data(), DType::f32, {5, 8});
  }
  tensors.push_back({"transformer.extra", Tensor(values.data(), DType::f32, {2})});
  EXPECT_EQ(
      published.refusal(folder),
      folder /
          "published: transformer.wpe.weight has shape (5, 8), expected (6, 8), transformer.ln_f.bias is missing, "
          "transformer.extra is not part of this model");
}

TEST(ModelFolder, TheConfigOfAnotherArchitectureOrVariantIsRefusedByItsKey) {
  const std::string good = published_config(small_model(), HeadConfig{}, 3);
  const PublishedModel read = parse_published_config(good, "config.json");
  EXPECT_EQ(read.model.width, 8);
  EXPECT_EQ(read.model.vocabulary, 20);
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    try {
      parse_published_config(text, "config.json");
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_EQ(changed("\"gpt2\"", "\"llama\""), "config.json: model_type: expected \"gpt2\", found \"llama\"");
  EXPECT_EQ(changed("\"gelu_new\"", "\"relu\""),
            "config.json: activation_function: \"relu\" is not supported (expected \"gelu_new\")");
  EXPECT_EQ(changed("\"n_inner\": null", "\"n_inner\": 24"), "config.json: n_inner: 24 is not supported (expected 32)");
  EXPECT_EQ(changed("\"n_head\": 2", "\"n_head\": 3"), "config.json: n_head: 3 does not divide n_embd 8");
  EXPECT_EQ(changed("\"n_embd\": 8", "\"n_embd\": -8"),
            "config.json: n_embd: expected a whole number above 0, found -8");
  EXPECT_EQ(changed("\"n_layer\": 1", "\"n_layer\": \"one\""),
            "config.json: n_layer: expected a whole number above 0, found \"one\"");
  EXPECT_EQ(changed("\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false"),
            "config.json: tie_word_embeddings: false is not supported (expected true)");
  EXPECT_EQ(changed("\"layer_norm_epsilon\": 1e-05", "\"layer_norm_epsilon\": 1e-12"),
            "config.json: layer_norm_epsilon: 1e-12 is not supported (expected 1e-05)");
  EXPECT_EQ(changed("\"n_positions\": 6,", ""), "config.json: n_positions is missing");
  EXPECT_EQ(changed("{", "["), "config.json: not a JSON object");
}

}  // namespace nll::test
