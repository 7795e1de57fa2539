#include "src/cli/eval_texts.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "src/text/token_files.h"
#include "src/train/checkpoint_texts.h"

namespace nll {

namespace {

namespace fs = std::filesystem;

constexpr std::int64_t tokens_at_a_time = 2048;

std::string read_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), {});
  if (!in) throw Error(Exit::bad_data, path + ": cannot be read");
  if (text.empty()) throw Error(Exit::bad_data, path + ": is empty");
  return text;
}

// The validation text that the run was trained beside.
std::vector<std::string> own_validation(const OpenModel& model) {
  const Config config = config_of(model, "validated on", "name the text: --text FILE or --data SHARDS");
  return config.data.validation.empty() ? config.data.train : config.data.validation;
}

}  // namespace

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (fs::temp_directory_path() / "nll-eval-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw Error(Exit::io, pattern + ": cannot be made");
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

const Tokenizer& tokenizer_of(const OpenModel& model) {
  if (!model.tokenizer)
    throw Error(Exit::bad_data, model.folder + ": has no tokenizer; evaluate token shards instead (--data)");
  return *model.tokenizer;
}

std::vector<std::int32_t> tokens_of_file(const OpenModel& model, const std::string& path, int threads) {
  const std::string text = read_text(path);
  std::vector<std::int32_t> tokens;
  if (tokenizer_of(model).end_of_text() >= 0) tokens.push_back(model.tokenizer->end_of_text());
  const std::vector<std::int32_t> body = model.tokenizer->encode(text, threads);
  tokens.insert(tokens.end(), body.begin(), body.end());
  return tokens;
}

Config config_of(const OpenModel& model, const std::string& what, const std::string& without) {
  const CheckpointFolder folder(posix_file_ops(), model.folder);
  if (!folder.has(run_config_name))
    throw Error(Exit::usage, fmt::format("{}: does not say what it was {}", model.folder, what), without);
  return parse_config(folder.text(run_config_name), model.folder + "/" + run_config_name, {});
}

std::int64_t sequences_at_a_time(const ModelConfig& model) {
  return std::max<std::int64_t>(1, tokens_at_a_time / model.context);
}

std::vector<EvalText> texts_of(const EvalSource& source, const OpenModel& model, int threads,
                               const TemporaryFolder& temporary) {
  std::vector<EvalText> texts;
  if (!source.text.empty()) {
    const std::vector<std::int32_t> tokens = tokens_of_file(model, source.text, threads);
    texts.push_back({source.text, {temporary.path() + "/text.bin"}});
    TokenFileWriter writer(texts[0].paths[0], model.published.model.vocabulary, model.tokenizer->end_of_text(),
                           model.tokenizer->hash());
    writer.append(tokens);
    writer.finish();
    return texts;
  }
  const auto add = [&](const std::vector<std::string>& patterns) {
    std::vector<std::string> paths = find_token_files(patterns, "validation");
    texts.push_back({fmt::format("{}", fmt::join(paths, ", ")), std::move(paths)});
  };
  if (source.data.empty()) add(own_validation(model));
  for (const std::string& pattern : source.data) add({pattern});
  return texts;
}

std::string write_documents(const std::vector<std::string>& documents, const Tokenizer& tokenizer,
                            std::int64_t vocabulary, int threads, const std::string& path) {
  TokenFileWriter writer(path, vocabulary, tokenizer.end_of_text(), tokenizer.hash());
  for (const std::string& document : documents) {
    std::vector<std::int32_t> tokens{tokenizer.end_of_text()};
    const std::vector<std::int32_t> body = tokenizer.encode(document, threads);
    tokens.insert(tokens.end(), body.begin(), body.end());
    writer.append(tokens);
  }
  writer.finish();
  return path;
}

}  // namespace nll
