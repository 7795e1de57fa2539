#include <fmt/format.h>

#include <filesystem>

#include "src/train/train_data.h"

namespace nll {

namespace {

namespace fs = std::filesystem;

bool folder(const std::string& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

}  // namespace

TrainData open_train_data(const Config& config) {
  TrainData data;
  const ModelConfig& model = config.model;
  data.train =
      std::make_unique<TokenDataset>(find_token_files(config.data.train, "train"), model.context, model.vocabulary);
  if (data.train->windows() == 0) {
    throw Error(Exit::bad_data, fmt::format("data.train: {} tokens are fewer than one window of model.context {} + 1",
                                            data.train->tokens(), model.context));
  }
  // Without a key for it, validation text and tokenizer are those of the folders that `nll tokenize` made.
  std::vector<std::string> validation = config.data.validation;
  std::string tokenizer = config.data.tokenizer;
  for (const std::string& path : config.data.train) {
    if (!folder(path)) continue;
    bool has_validation = false;
    for (const auto& entry : fs::directory_iterator(path))
      has_validation |= entry.path().filename().string().starts_with("validation_");
    if (config.data.validation.empty() && has_validation) validation.push_back(path);
    if (tokenizer.empty() && fs::exists(path + "/tokenizer.json")) tokenizer = path;
  }
  if (!validation.empty()) {
    data.validation = std::make_unique<TokenDataset>(find_token_files(validation, "validation"), 1, model.vocabulary);
  }
  if (!tokenizer.empty()) {
    data.tokenizer = Tokenizer::load(tokenizer);
    if (data.tokenizer->vocabulary() > model.vocabulary) {
      throw Error(Exit::bad_data,
                  fmt::format("model.vocabulary: {} is less than the {} ids of {}", model.vocabulary,
                              data.tokenizer->vocabulary(), tokenizer),
                  fmt::format("set model.vocabulary to {}", data.tokenizer->vocabulary()));
    }
    for (const TokenFile& file : data.train->files()) {
      const std::uint64_t made_by = file.info().tokenizer_hash;
      if (made_by != 0 && made_by != data.tokenizer->hash()) {
        throw Error(Exit::bad_data,
                    fmt::format("{}: its tokens were made by another tokenizer than {}", file.info().path, tokenizer),
                    "tokenize the text again, or name its tokenizer in data.tokenizer");
      }
    }
    data.lengths = token_lengths(*data.tokenizer);
  }
  // Ids that the tokenizer does not use count no bytes.
  data.lengths.bytes.resize(static_cast<std::size_t>(model.vocabulary));
  data.lengths.special.resize(static_cast<std::size_t>(model.vocabulary));
  data.lengths.characters.resize(static_cast<std::size_t>(model.vocabulary));
  return data;
}

std::uint64_t TrainData::fingerprint() const { return records ? records->train->fingerprint() : train->fingerprint(); }

}  // namespace nll
