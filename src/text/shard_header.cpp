#include "src/text/shard_header.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <limits>

#include "kernels/check.h"

namespace nll {
namespace {

constexpr std::uint32_t shard_version = 1;
// Byte offsets of the fields; all numbers are little-endian.
constexpr std::size_t at_version = 8, at_header_bytes = 12, at_tokens = 16, at_bytes_per_token = 24,
                      at_end_of_text = 28, at_vocabulary = 32, at_tokenizer_hash = 40, at_text_bytes = 48,
                      at_text_characters = 56, at_tokens_hash = 64, at_header_checksum = 248;

void put(std::span<std::uint8_t> bytes, std::size_t at, std::size_t size, std::uint64_t value) {
  for (std::size_t i = 0; i < size; ++i) bytes[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
}

std::uint64_t get(std::span<const std::uint8_t> bytes, std::size_t at, std::size_t size) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < size; ++i) value |= static_cast<std::uint64_t>(bytes[at + i]) << (8 * i);
  return value;
}

}  // namespace

std::array<std::uint8_t, shard_header_bytes> write_shard_header(const ShardHeader& header) {
  std::array<std::uint8_t, shard_header_bytes> bytes{};
  for (std::size_t i = 0; i < shard_magic.size(); ++i) bytes[i] = static_cast<std::uint8_t>(shard_magic[i]);
  put(bytes, at_version, 4, shard_version);
  put(bytes, at_header_bytes, 4, shard_header_bytes);
  put(bytes, at_tokens, 8, static_cast<std::uint64_t>(header.tokens));
  put(bytes, at_bytes_per_token, 4, static_cast<std::uint64_t>(header.bytes_per_token));
  put(bytes, at_end_of_text, 4, static_cast<std::uint32_t>(header.end_of_text));
  put(bytes, at_vocabulary, 8, static_cast<std::uint64_t>(header.vocabulary));
  put(bytes, at_tokenizer_hash, 8, header.tokenizer_hash);
  put(bytes, at_text_bytes, 8, static_cast<std::uint64_t>(header.text_bytes));
  put(bytes, at_text_characters, 8, static_cast<std::uint64_t>(header.text_characters));
  put(bytes, at_tokens_hash, 8, header.tokens_hash);
  put(bytes, at_header_checksum, 8, XXH3_64bits(bytes.data(), at_header_checksum));
  return bytes;
}

ShardHeader read_shard_header(std::span<const std::uint8_t, shard_header_bytes> bytes, const std::string& path) {
  const auto refuse = [&](const std::string& what) { throw Error(Exit::bad_data, path + ": " + what); };
  // The version first: a later one may have its checksum elsewhere.
  const std::uint64_t found = get(bytes, at_version, 4);
  if (found != shard_version)
    refuse(fmt::format("shard version {} (this program reads version {})", found, shard_version));
  if (get(bytes, at_header_checksum, 8) != XXH3_64bits(bytes.data(), at_header_checksum)) {
    refuse("the header's checksum is wrong (the file is damaged)");
  }
  ShardHeader header;
  header.tokens = static_cast<std::int64_t>(get(bytes, at_tokens, 8));
  header.bytes_per_token = static_cast<std::int32_t>(get(bytes, at_bytes_per_token, 4));
  header.end_of_text = static_cast<std::int32_t>(static_cast<std::uint32_t>(get(bytes, at_end_of_text, 4)));
  header.vocabulary = static_cast<std::int64_t>(get(bytes, at_vocabulary, 8));
  header.tokenizer_hash = get(bytes, at_tokenizer_hash, 8);
  header.text_bytes = static_cast<std::int64_t>(get(bytes, at_text_bytes, 8));
  header.text_characters = static_cast<std::int64_t>(get(bytes, at_text_characters, 8));
  header.tokens_hash = get(bytes, at_tokens_hash, 8);
  const std::uint64_t header_bytes = get(bytes, at_header_bytes, 4);
  if (header_bytes != shard_header_bytes) {
    refuse(fmt::format("a header of {} bytes (expected {})", header_bytes, shard_header_bytes));
  }
  if (header.tokens < 0 || header.tokens > std::numeric_limits<std::int64_t>::max() / 8) {
    refuse(fmt::format("a count of {} tokens", header.tokens));
  }
  if (header.bytes_per_token != 2 && header.bytes_per_token != 4) {
    refuse(fmt::format("{} bytes a token (expected 2 or 4)", header.bytes_per_token));
  }
  const std::int64_t most = header.bytes_per_token == 2 ? std::int64_t{1} << 16 : std::int64_t{1} << 31;
  if (header.vocabulary < 1 || header.vocabulary > most) {
    refuse(fmt::format("a vocabulary of {} in {} bytes a token (expected 1 to {})", header.vocabulary,
                       header.bytes_per_token, most));
  }
  if (header.end_of_text < -1 || header.end_of_text >= header.vocabulary) {
    refuse(fmt::format("end-of-text id {} (expected -1 to {})", header.end_of_text, header.vocabulary - 1));
  }
  if (header.text_bytes < 0 || header.text_characters < 0 || header.text_characters > header.text_bytes) {
    refuse(fmt::format("{} characters in {} bytes of text", header.text_characters, header.text_bytes));
  }
  return header;
}

}  // namespace nll
