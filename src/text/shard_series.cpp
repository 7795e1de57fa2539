#include "src/text/shard_series.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/check.h"
#include "src/text/utf8.h"

namespace nll {

ShardSeries::ShardSeries(std::string folder, std::string split, const Tokenizer& tokenizer, std::int64_t shard_tokens)
    : folder_(std::move(folder)),
      split_(std::move(split)),
      vocabulary_(tokenizer.vocabulary()),
      shard_tokens_(shard_tokens),
      end_of_text_(tokenizer.end_of_text()),
      tokenizer_hash_(tokenizer.hash()) {
  CHECK(shard_tokens > 0);
  for (std::int32_t id = 0; id < vocabulary_; ++id) {
    const std::string_view bytes = tokenizer.token_bytes(id);
    token_text_.push_back(
        {static_cast<std::int32_t>(bytes.size()), static_cast<std::int32_t>(count_characters(bytes))});
  }
}

void ShardSeries::append(std::span<const std::int32_t> tokens) {
  while (!tokens.empty()) {
    if (!shard_) {
      const std::string path = fmt::format("{}/{}_{:05}.bin", folder_, split_, shards_++);
      shard_ = std::make_unique<TokenFileWriter>(path, vocabulary_, end_of_text_, tokenizer_hash_);
      in_shard_ = 0;
    }
    const auto room = static_cast<std::size_t>(shard_tokens_ - in_shard_);
    const std::span<const std::int32_t> part = tokens.first(std::min(room, tokens.size()));
    std::int64_t bytes = 0, characters = 0;
    for (const std::int32_t token : part) {
      bytes += token_text_[static_cast<std::size_t>(token)].bytes;
      characters += token_text_[static_cast<std::size_t>(token)].characters;
    }
    shard_->append(part);
    shard_->count_text(bytes, characters);
    in_shard_ += static_cast<std::int64_t>(part.size());
    tokens_ += static_cast<std::int64_t>(part.size());
    bytes_ += bytes;
    characters_ += characters;
    tokens = tokens.subspan(part.size());
    if (in_shard_ == shard_tokens_) finish();
  }
}

void ShardSeries::finish() {
  if (!shard_) return;
  shard_->finish();
  shard_.reset();
}

}  // namespace nll
