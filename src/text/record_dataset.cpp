#include "src/text/record_dataset.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "kernels/check.h"
#include "src/text/line_reader.h"
#include "src/text/record_build.h"

namespace nll {
namespace {

void check_options(const RecordOptions& options) {
  const auto refuse = [](const std::string& what) { throw Error(Exit::usage, what); };
  if (options.files.empty()) refuse("no record files are named (expected .jsonl files)");
  if (options.max_length < 2) {
    refuse(fmt::format("sequences of at most {} tokens (expected at least 2: one given, one predicted)",
                       options.max_length));
  }
  if (options.longest_line < 1) refuse(fmt::format("lines of at most {} bytes (expected 1)", options.longest_line));
  CHECK(!options.cache_folder.empty());
}

}  // namespace

RecordDataset::RecordDataset(const RecordOptions& options, const Tokenizer& tokenizer, const Progress& progress)
    : kind_(options.kind),
      padding_(std::max(tokenizer.end_of_text(), 0)),
      files_(options.files),
      cache_(open_cache(options, tokenizer, progress)) {}

RecordCache RecordDataset::open_cache(const RecordOptions& options, const Tokenizer& tokenizer,
                                      const Progress& progress) {
  check_options(options);
  std::vector<std::uint64_t> hashes;
  for (const std::string& file : options.files) hashes.push_back(hash_of_file(file));
  const std::uint64_t key = record_cache_key(options, hashes, tokenizer);
  const std::string path =
      (std::filesystem::path(options.cache_folder) / fmt::format("records-{:016x}.cache", key)).string();
  std::error_code error;
  if (std::filesystem::exists(path, error)) {
    try {
      RecordCache cache(path, key, tokenizer.vocabulary());
      notices_.push_back(fmt::format("{}: tokenized records from an earlier run", path));
      return cache;
    } catch (const Error& refused) {
      notices_.push_back(std::string(refused.what()) + ": made again");
    }
  }
  std::filesystem::create_directories(options.cache_folder, error);
  if (error) {
    throw Error(Exit::io, fmt::format("{}: making the folder failed ({})", options.cache_folder, error.message()));
  }
  build_record_cache(options, hashes, tokenizer, path, key, progress);
  notices_.push_back(fmt::format("{}: tokenized records for later runs", path));
  return RecordCache(path, key, tokenizer.vocabulary());
}

std::uint64_t RecordDataset::fingerprint() const {
  const std::string all = fmt::format("{} {} {:016x}", record_kind_name(kind_), records(), cache_.hash());
  return XXH3_64bits(all.data(), all.size());
}

std::vector<RecordSequence> RecordDataset::sequences(std::int64_t record) const {
  StoredRecord stored = cache_.read(record);
  std::vector<RecordSequence> sequences;
  for (std::size_t i = 0; i < stored.sequences.size(); ++i) {
    EncodedSequence& encoded = stored.sequences[i];
    RecordSequence& sequence = sequences.emplace_back();
    sequence.info.record = record;
    sequence.info.role = static_cast<std::int32_t>(i);
    sequence.info.label = stored.label;
    sequence.info.margin = stored.margin;
    sequence.info.prompt_tokens = encoded.prompt_tokens;
    sequence.info.tokens = static_cast<std::int64_t>(encoded.tokens.size());
    sequence.tokens = std::move(encoded.tokens);
    sequence.trained = std::move(encoded.trained);
  }
  return sequences;
}

std::string RecordDataset::columns(std::int64_t record) const { return cache_.read(record).columns; }

std::string RecordDataset::place(std::int64_t record) const {
  const StoredRecord stored = cache_.read(record);
  CHECK(stored.file < static_cast<std::int64_t>(files_.size()));
  return fmt::format("{}:{}", files_[static_cast<std::size_t>(stored.file)], stored.line);
}

}  // namespace nll
