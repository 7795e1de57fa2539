// The first 256 bytes of an own token shard. Layout: docs/formats.md, "Token shards".
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace nll {

inline constexpr std::int64_t shard_header_bytes = 256;
inline constexpr std::string_view shard_magic = "NLLTOKEN";

struct ShardHeader {
  std::int64_t tokens = 0;
  std::int64_t vocabulary = 0;
  std::int32_t bytes_per_token = 2;  // 2 or 4
  std::int32_t end_of_text = -1;
  std::uint64_t tokenizer_hash = 0;
  std::int64_t text_bytes = 0;
  std::int64_t text_characters = 0;
  std::uint64_t tokens_hash = 0;  // xxh3 of all token bytes
};

std::array<std::uint8_t, shard_header_bytes> write_shard_header(const ShardHeader& header);
// Throws Error(bad_data), led by `path`, on a wrong checksum or version and on values that cannot be.
ShardHeader read_shard_header(std::span<const std::uint8_t, shard_header_bytes> bytes, const std::string& path);

}  // namespace nll
