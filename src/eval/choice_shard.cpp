#include "src/eval/choice_shard.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "kernels/check.h"
#include "src/text/input_file.h"
#include "src/text/utf8.h"

namespace nll {

namespace {

constexpr std::int32_t shard_magic = 20240522, shard_version = 1;
constexpr std::size_t header_bytes = 1024;
constexpr std::uint16_t start_of_question = 65535;
constexpr std::int64_t largest_shard = std::int64_t{1} << 30;

std::int32_t header_number(const std::string& bytes, std::size_t i) {
  std::int32_t value = 0;  // little-endian, as every machine nll runs on
  std::memcpy(&value, bytes.data() + 4 * i, sizeof value);
  return value;
}

// The 16-bit numbers of one question after the other.
class ShardReader {
 public:
  ShardReader(const std::string& path, const std::string& bytes, std::int64_t vocabulary)
      : path_(path), bytes_(bytes), vocabulary_(vocabulary), end_(bytes.size()) {}
  std::size_t at() const { return at_; }
  bool done() const { return at_ == bytes_.size(); }
  void begin(std::int64_t question) {
    place_ = fmt::format("{}: question {}", path_, question);
    end_ = bytes_.size();
  }
  void end_at(std::size_t end) { end_ = end; }
  const std::string& place() const { return place_; }
  [[noreturn]] void refuse(const std::string& what) const { throw Error(Exit::bad_data, place_ + ": " + what); }
  std::int64_t next(const char* field) {
    if (end_ - at_ < 2) refuse(fmt::format("{} is missing (the question ends before it)", field));
    std::uint16_t value = 0;
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += sizeof value;
    return value;
  }
  std::vector<std::int32_t> tokens(const std::string& field) {
    const std::int64_t count = next(field.c_str());
    if (count == 0) refuse(field + " is empty (expected at least 1 token)");
    std::vector<std::int32_t> list;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t token = next(field.c_str());
      if (token >= vocabulary_)
        refuse(fmt::format("{} has token {} (expected below the model's vocabulary of {})", field, token, vocabulary_));
      list.push_back(static_cast<std::int32_t>(token));
    }
    return list;
  }

 private:
  std::string path_, place_;
  const std::string& bytes_;
  std::int64_t vocabulary_;
  std::size_t at_ = header_bytes, end_;
};

EncodedQuestion read_question(ShardReader& reader, std::int64_t number, std::size_t size, const Tokenizer* tokenizer) {
  const std::size_t begin = reader.at();
  reader.begin(number);
  const std::int64_t start = reader.next("start");
  if (start != start_of_question) reader.refuse(fmt::format("start is {} (expected {})", start, start_of_question));
  const std::int64_t bytes = reader.next("bytes");
  if (bytes % 2 != 0 || bytes < 12 || static_cast<std::size_t>(bytes) > size - begin)
    reader.refuse(fmt::format("bytes is {} (expected an even number of 12 to {})", bytes, size - begin));
  reader.end_at(begin + static_cast<std::size_t>(bytes));
  const std::int64_t index = reader.next("index");
  if (index != number) reader.refuse(fmt::format("index is {} (expected {})", index, number));
  EncodedQuestion question;
  question.place = reader.place();
  const std::int64_t label = reader.next("label"), endings = reader.next("endings");
  if (endings < 2) reader.refuse(fmt::format("endings is {} (expected at least 2)", endings));
  if (label >= endings) reader.refuse(fmt::format("label is {} (expected 0 to {})", label, endings - 1));
  question.label = static_cast<std::size_t>(label);
  question.context = reader.tokens("context");
  for (std::int64_t i = 0; i < endings; ++i) {
    EncodedEnding ending;
    ending.tokens = reader.tokens(fmt::format("ending {}", i));
    if (tokenizer != nullptr) {
      const std::string text = tokenizer->decode(ending.tokens);
      ending.bytes = static_cast<std::int64_t>(text.size());
      ending.characters = count_characters(text) - (text.starts_with(' ') ? 1 : 0);
    }
    question.endings.push_back(std::move(ending));
  }
  if (reader.at() != begin + static_cast<std::size_t>(bytes))
    reader.refuse(fmt::format("bytes is {} (expected {}, where its last ending ends)", bytes, reader.at() - begin));
  return question;
}

}  // namespace

std::vector<EncodedQuestion> read_choice_shard(const std::string& path, const Tokenizer* tokenizer,
                                               std::int64_t vocabulary) {
  if (tokenizer != nullptr) vocabulary = std::min(vocabulary, tokenizer->vocabulary());
  const std::string bytes = InputFile(path).read_all(largest_shard);
  const auto refuse = [&](const std::string& what) { throw Error(Exit::bad_data, path + ": " + what); };
  if (bytes.size() < header_bytes)
    refuse(fmt::format("{} bytes (shorter than its header of {})", bytes.size(), header_bytes));
  if (header_number(bytes, 0) != shard_magic)
    refuse(
        fmt::format("magic is {} (expected {}, an evaluation shard of llm.c)", header_number(bytes, 0), shard_magic));
  if (header_number(bytes, 1) != shard_version)
    refuse(fmt::format("version is {} (expected {})", header_number(bytes, 1), shard_version));
  const std::int64_t count = header_number(bytes, 2);
  if (count < 1) refuse(fmt::format("has {} questions (expected at least 1)", count));
  ShardReader reader(path, bytes, vocabulary);
  std::vector<EncodedQuestion> questions;
  for (std::int64_t i = 0; i < count; ++i) questions.push_back(read_question(reader, i, bytes.size(), tokenizer));
  if (!reader.done())
    refuse(fmt::format("{} bytes after the last question (expected none)", bytes.size() - reader.at()));
  return questions;
}

}  // namespace nll
