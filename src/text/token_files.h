// Token shards: reading (own, llm.c, uint32, nanoGPT) and writing (own). Format: docs/formats.md.
// Files are read with pread, so one that shrinks meanwhile is an Error(bad_data) and never a signal.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "src/text/input_file.h"

namespace nll {

enum class TokenFormat { own, llmc, llmc_uint32, nanogpt };

struct TokenFileInfo {
  std::string path;
  TokenFormat format = TokenFormat::own;
  std::int64_t tokens = 0;
  std::int64_t vocabulary = 0;       // 0 where the format does not say
  std::int32_t end_of_text = -1;     // -1 where the format does not say
  std::uint64_t tokenizer_hash = 0;  // 0 where the format does not say
  std::int64_t text_bytes = 0;       // bytes of UTF-8 text behind the tokens; 0 where the format does not say
  std::int64_t text_characters = 0;  // code points of that text
};

class TokenFile {
 public:
  explicit TokenFile(const std::string& path);  // checks the header against the size of the file
  TokenFile(TokenFile&&) noexcept;
  ~TokenFile();
  const TokenFileInfo& info() const { return info_; }
  // Tokens [begin, begin + out.size()) as i32; each is checked against `vocabulary`, and the error names file and
  // offset.
  void read(std::int64_t begin, std::span<std::int32_t> out, std::int64_t vocabulary) const;
  std::uint64_t fingerprint() const;  // xxh3 of name, size, header and three sampled blocks
  // Reads all tokens and compares them with the hash in the header. False where the format has none.
  bool verify() const;

 private:
  InputFile file_;
  TokenFileInfo info_;
  std::int64_t bytes_per_token_ = 2;
  std::int64_t data_offset_ = 0;
};

// Writes one shard: to a temporary name while tokens stream in, complete only after finish() (header, fsync, rename).
class TokenFileWriter {
 public:
  TokenFileWriter(const std::string& path, std::int64_t vocabulary, std::int32_t end_of_text,
                  std::uint64_t tokenizer_hash);
  ~TokenFileWriter();  // removes what was not finished
  void append(std::span<const std::int32_t> tokens);
  void count_text(std::int64_t bytes, std::int64_t characters);
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The files that a config's list of folders, files and globs means, sorted and each once. `split` is "train" or
// "validation" and chooses inside a folder made by `nll tokenize`. Throws Error(bad_data) naming what matched nothing.
std::vector<std::string> find_token_files(const std::vector<std::string>& patterns, const std::string& split);

// One or more token files as one list of windows of `context` + 1 tokens that do not cross files.
class TokenDataset {
 public:
  // Throws Error(bad_data) when no file has context + 1 tokens, or, where windows are not needed (SequentialWindows
  // takes any length), not even two.
  enum class Short { refused, allowed };
  TokenDataset(std::vector<std::string> paths, std::int64_t context, std::int64_t vocabulary,
               Short short_files = Short::refused);
  std::int64_t context() const { return context_; }
  std::int64_t vocabulary() const { return vocabulary_; }
  std::int64_t tokens() const;
  std::int64_t windows() const;  // samples of an epoch
  std::uint64_t fingerprint() const;
  const std::vector<TokenFile>& files() const { return files_; }
  // Window `index` of epoch `epoch`: context + 1 tokens. A file's windows begin at a shift in [0, context) that depends
  // on (seed, epoch, file), so that epochs cut the text at different places. A file of n tokens has
  // max(1, (n-1)/context - 1) windows, which leaves room for the shift, and none when n <= context.
  void window(std::uint64_t seed, std::int64_t epoch, std::int64_t index, std::span<std::int32_t> out) const;

 private:
  std::vector<TokenFile> files_;
  std::vector<std::int64_t> first_window_;  // of each file, and the end
  std::int64_t context_, vocabulary_;
};

}  // namespace nll
