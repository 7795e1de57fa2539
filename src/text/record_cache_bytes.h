// The layout of a record cache: numbers as little-endian bytes, whatever the machine.
#pragma once
#include <array>
#include <bit>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "src/text/record_cache.h"

namespace nll {

inline constexpr std::size_t record_cache_header_bytes = 128;

struct RecordCacheHeader {
  std::uint64_t key = 0;
  std::uint64_t records = 0;
  std::uint64_t data_bytes = 0;     // records, from the end of the header on
  std::uint64_t summary_bytes = 0;  // JSON, at the end; before it an offset of 8 bytes a record, and one for the end
  std::uint64_t data_hash = 0, index_hash = 0, summary_hash = 0;
};

std::array<char, record_cache_header_bytes> write_record_cache_header(const RecordCacheHeader& header);
// None with `why` where these bytes are no sound header.
std::optional<RecordCacheHeader> read_record_cache_header(std::string_view bytes, std::string& why);

// One record; it begins with the hash of the rest.
std::string pack_record(const EncodedRecord& record, std::int64_t file, std::int64_t line);
// None where the bytes are not what pack_record() gives for ids of this vocabulary.
std::optional<StoredRecord> unpack_record(std::string_view bytes, std::int64_t vocabulary);

inline void put_number(std::string& bytes, std::uint64_t value, int size) {
  for (int i = 0; i < size; ++i) bytes.push_back(static_cast<char>(value >> (8 * i)));
}

inline std::uint64_t number_at(std::string_view bytes, std::size_t at, std::size_t size) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < size; ++i) {
    value |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[at + i])) << (8 * i);
  }
  return value;
}

}  // namespace nll
