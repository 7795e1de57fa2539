#include "src/text/tokenizer.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "kernels/check.h"
#include "src/text/bpe_encoder.h"
#include "src/text/bpe_train.h"
#include "src/text/bpe_vocabulary.h"
#include "src/text/gpt2_files.h"
#include "src/text/input_file.h"
#include "src/text/output_file.h"
#include "src/text/pretokenizer.h"
#include "src/text/thread_team.h"
#include "src/text/tokenizer_json.h"
#include "src/text/word_counts.h"

namespace nll {

struct Tokenizer::Tables {
  BpeVocabulary vocabulary;
  Pretokenizer pretokenizer;

  explicit Tables(BpeVocabulary tables) : vocabulary(std::move(tables)) {}

  std::vector<std::int32_t> encode(std::string_view text) const {
    std::vector<std::int32_t> ids;
    BpeEncoder encoder(vocabulary, text.size());
    Pretokenizer::Scanner scanner(pretokenizer, text);
    for (std::string_view piece; scanner.next(piece);) encoder.append(piece, ids);
    return ids;
  }
};

Tokenizer::Tokenizer(std::unique_ptr<Tables> tables) : tables_(std::move(tables)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::load(const std::string& path) {
  constexpr std::int64_t largest_file = std::int64_t{256} << 20;
  const auto exists = [](const std::string& name) {
    struct stat status {};
    return ::stat(name.c_str(), &status) == 0;
  };
  const auto read = [](const std::string& name) { return InputFile(name).read_all(largest_file); };
  struct stat status {};
  const bool folder = ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
  if (!folder) return Tokenizer(std::make_unique<Tables>(read_tokenizer_json(read(path), path)));
  const std::string json = path + "/tokenizer.json";
  if (exists(json)) return Tokenizer(std::make_unique<Tables>(read_tokenizer_json(read(json), json)));
  // GPT-2's two files under OpenAI's names and under Hugging Face's.
  for (const auto& [tokens, merges] :
       {std::pair("/encoder.json", "/vocab.bpe"), std::pair("/vocab.json", "/merges.txt")}) {
    if (!exists(path + tokens) && !exists(path + merges)) continue;
    return Tokenizer(std::make_unique<Tables>(
        read_gpt2_files(read(path + tokens), path + tokens, read(path + merges), path + merges)));
  }
  throw Error(Exit::bad_data, path +
                                  ": no tokenizer in this folder (expected tokenizer.json, encoder.json and "
                                  "vocab.bpe, or vocab.json and merges.txt)");
}

Tokenizer Tokenizer::train(std::span<const std::string_view> texts, std::int64_t vocabulary, int threads,
                           const Progress& progress) {
  constexpr std::int64_t smallest = 257;
  if (vocabulary < smallest || vocabulary > largest_vocabulary) {
    throw Error(Exit::usage, fmt::format("vocabulary size {} (expected {} to {}: 256 bytes, the merges, <|endoftext|>)",
                                         vocabulary, smallest, largest_vocabulary));
  }
  std::int64_t bytes = 0;
  for (const std::string_view text : texts) bytes += static_cast<std::int64_t>(text.size());
  // The bar's first half is the counting of words, its second half the merges.
  const auto report = [&](double fraction) {
    if (progress) progress(static_cast<std::int64_t>(fraction * static_cast<double>(2 * bytes)), 2 * bytes);
  };
  const auto share = [](std::int64_t done, std::int64_t all) {
    return 0.5 * std::min(1.0, static_cast<double>(done) / static_cast<double>(std::max<std::int64_t>(all, 1)));
  };
  const Pretokenizer pretokenizer;
  const WordCounts words =
      count_words(pretokenizer, texts, threads, [&](std::int64_t done) { report(share(done, bytes)); });
  BpeVocabulary learned = learn_merges(
      words, vocabulary - 1, [&](std::int64_t tokens) { report(0.5 + share(tokens - 256, vocabulary - smallest)); });
  learned.special.assign(learned.tokens.size(), false);
  learned.tokens.emplace_back("<|endoftext|>");
  learned.special.push_back(true);
  learned.index("trained tokenizer");
  report(1);
  return Tokenizer(std::make_unique<Tables>(std::move(learned)));
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text) const { return tables_->encode(text); }

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, int threads, const Progress& progress) const {
  constexpr std::size_t chunk_bytes = std::size_t{1} << 20;
  std::vector<std::string_view> chunks;
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t cut = safe_cut_after(rest, std::min(chunk_bytes, rest.size()));
    chunks.push_back(rest.substr(0, cut));
    rest.remove_prefix(cut);
  }
  std::vector<std::vector<std::int32_t>> parts(chunks.size());
  const auto total = static_cast<std::int64_t>(text.size());
  for_each_item(
      chunks.size(), threads, [&](std::size_t, std::size_t chunk) { parts[chunk] = tables_->encode(chunks[chunk]); },
      [&](std::size_t finished) {
        if (progress)
          progress(finished == chunks.size() ? total : static_cast<std::int64_t>(finished * chunk_bytes), total);
      });
  if (parts.size() == 1) return std::move(parts[0]);
  std::size_t count = 0;
  for (const auto& part : parts) count += part.size();
  std::vector<std::int32_t> ids;
  ids.reserve(count);
  for (const auto& part : parts) ids.insert(ids.end(), part.begin(), part.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool with_special) const {
  std::string text;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= vocabulary()) {
      throw Error(Exit::bad_data, fmt::format("token {} at position {} is not in the vocabulary (ids are 0 to {})",
                                              ids[i], i, vocabulary() - 1));
    }
    const auto id = static_cast<std::size_t>(ids[i]);
    if (with_special || !tables_->vocabulary.special[id]) text += tables_->vocabulary.tokens[id];
  }
  return text;
}

std::int64_t Tokenizer::vocabulary() const { return static_cast<std::int64_t>(tables_->vocabulary.tokens.size()); }
std::int32_t Tokenizer::end_of_text() const { return tables_->vocabulary.end_of_text; }

std::string_view Tokenizer::token_bytes(std::int32_t id) const {
  CHECK(id >= 0);
  CHECK(id < vocabulary());
  if (special(id)) return {};
  return tables_->vocabulary.tokens[static_cast<std::size_t>(id)];
}

bool Tokenizer::special(std::int32_t id) const {
  CHECK(id >= 0);
  CHECK(id < vocabulary());
  return tables_->vocabulary.special[static_cast<std::size_t>(id)];
}

std::uint64_t Tokenizer::hash() const { return tables_->vocabulary.hash; }
std::string Tokenizer::json() const { return write_tokenizer_json(tables_->vocabulary); }
void Tokenizer::save(const std::string& path) const {
  OutputFile file(path);
  const std::string text = json();
  file.write(text.data(), static_cast<std::int64_t>(text.size()));
  file.publish();
}

}  // namespace nll
