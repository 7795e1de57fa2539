// The shards of one split, written one after the other as tokens come in.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "src/text/token_files.h"
#include "src/text/tokenizer.h"

namespace nll {

class ShardSeries {
 public:
  // Writes `folder`/`split`_00000.bin, `split`_00001.bin ..., each of `shard_tokens` tokens but the last.
  ShardSeries(std::string folder, std::string split, const Tokenizer& tokenizer, std::int64_t shard_tokens);
  void append(std::span<const std::int32_t> tokens);
  void finish();
  std::int64_t shards() const { return shards_; }
  std::int64_t tokens() const { return tokens_; }
  std::int64_t text_bytes() const { return bytes_; }
  std::int64_t text_characters() const { return characters_; }

 private:
  struct TokenText {
    std::int32_t bytes = 0, characters = 0;
  };
  std::string folder_, split_;
  std::int64_t vocabulary_, shard_tokens_;
  std::int32_t end_of_text_;
  std::uint64_t tokenizer_hash_;
  std::vector<TokenText> token_text_;  // by id: a shard's text is counted by what its tokens stand for
  std::unique_ptr<TokenFileWriter> shard_;
  std::int64_t in_shard_ = 0, shards_ = 0, tokens_ = 0, bytes_ = 0, characters_ = 0;
};

}  // namespace nll
