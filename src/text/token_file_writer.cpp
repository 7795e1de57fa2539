#include <fmt/format.h>
#include <xxhash.h>

#include "kernels/check.h"
#include "src/text/output_file.h"
#include "src/text/shard_header.h"
#include "src/text/token_files.h"

namespace nll {

struct TokenFileWriter::State {
  OutputFile file;
  ShardHeader header;
  std::vector<std::uint8_t> bytes;  // of one append
  std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> hash{XXH3_createState(), XXH3_freeState};
};

TokenFileWriter::TokenFileWriter(const std::string& path, std::int64_t vocabulary, std::int32_t end_of_text,
                                 std::uint64_t tokenizer_hash)
    : state_(new State{OutputFile(path), {}, {}}) {
  CHECK(vocabulary > 0);
  CHECK(vocabulary <= std::int64_t{1} << 31);
  CHECK(end_of_text < vocabulary);
  CHECK(state_->hash.get() != nullptr);
  XXH3_64bits_reset(state_->hash.get());
  state_->header.vocabulary = vocabulary;
  state_->header.end_of_text = end_of_text;
  state_->header.tokenizer_hash = tokenizer_hash;
  state_->header.bytes_per_token = vocabulary <= 65536 ? 2 : 4;
  // Room for the header: zeros until finish(), so a file that was cut off here is never taken for a shard.
  const std::vector<std::uint8_t> zeros(static_cast<std::size_t>(shard_header_bytes), 0);
  state_->file.write(zeros.data(), shard_header_bytes);
}

TokenFileWriter::~TokenFileWriter() = default;

void TokenFileWriter::append(std::span<const std::int32_t> tokens) {
  ShardHeader& header = state_->header;
  std::vector<std::uint8_t>& bytes = state_->bytes;
  bytes.clear();
  for (const std::int32_t token : tokens) {
    CHECK(token >= 0);
    CHECK(token < header.vocabulary);
    for (int i = 0; i < header.bytes_per_token; ++i) bytes.push_back(static_cast<std::uint8_t>(token >> (8 * i)));
  }
  XXH3_64bits_update(state_->hash.get(), bytes.data(), bytes.size());
  state_->file.write(bytes.data(), static_cast<std::int64_t>(bytes.size()));
  header.tokens += static_cast<std::int64_t>(tokens.size());
}

void TokenFileWriter::count_text(std::int64_t bytes, std::int64_t characters) {
  state_->header.text_bytes += bytes;
  state_->header.text_characters += characters;
}

void TokenFileWriter::finish() {
  state_->header.tokens_hash = XXH3_64bits_digest(state_->hash.get());
  const auto header = write_shard_header(state_->header);
  state_->file.write_at(0, header.data(), shard_header_bytes);
  state_->file.publish();
}

}  // namespace nll
