#include "src/text/record_cache_bytes.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>

#include "kernels/check.h"

namespace nll {
namespace {

constexpr std::string_view cache_magic = "NLLRECRD";
constexpr std::uint64_t cache_version = 1;
constexpr std::size_t cache_checksum_at = record_cache_header_bytes - 8;

// Takes numbers from the front of bytes that may be too few.
class Taker {
 public:
  explicit Taker(std::string_view bytes) : bytes_(bytes) {}
  std::uint64_t number(std::size_t size) {
    if (!has(size)) return 0;
    const std::uint64_t value = number_at(bytes_, 0, size);
    bytes_.remove_prefix(size);
    return value;
  }
  std::int32_t index() { return static_cast<std::int32_t>(static_cast<std::uint32_t>(number(4))); }
  std::string text(std::size_t size) {
    if (!has(size)) return {};
    std::string taken(bytes_.substr(0, size));
    bytes_.remove_prefix(size);
    return taken;
  }
  bool has(std::uint64_t size) { return good_ = good_ && size <= bytes_.size(); }
  bool good() const { return good_; }
  bool done() const { return good_ && bytes_.empty(); }

 private:
  std::string_view bytes_;
  bool good_ = true;
};

bool is_sound(const EncodedSequence& sequence, std::int64_t vocabulary) {
  const auto tokens = static_cast<std::int64_t>(sequence.tokens.size());
  if (sequence.prompt_tokens < 1 || sequence.prompt_tokens > tokens) return false;
  std::int64_t at = sequence.prompt_tokens;
  for (const TokenSpan& span : sequence.trained) {
    if (span.begin < at || span.end <= span.begin || span.end > tokens) return false;
    at = span.end;
  }
  return std::all_of(sequence.tokens.begin(), sequence.tokens.end(),
                     [&](std::int32_t id) { return id >= 0 && id < vocabulary; });
}

}  // namespace

std::array<char, record_cache_header_bytes> write_record_cache_header(const RecordCacheHeader& header) {
  std::string bytes(cache_magic);
  put_number(bytes, cache_version, 4);
  put_number(bytes, record_cache_header_bytes, 4);
  for (const std::uint64_t number : {header.key, header.records, header.data_bytes, header.summary_bytes,
                                     header.data_hash, header.index_hash, header.summary_hash}) {
    put_number(bytes, number, 8);
  }
  bytes.resize(cache_checksum_at, '\0');
  put_number(bytes, XXH3_64bits(bytes.data(), bytes.size()), 8);
  std::array<char, record_cache_header_bytes> all{};
  std::copy(bytes.begin(), bytes.end(), all.begin());
  return all;
}

std::optional<RecordCacheHeader> read_record_cache_header(std::string_view bytes, std::string& why) {
  if (bytes.size() < record_cache_header_bytes || !bytes.starts_with(cache_magic)) {
    why = "is no record cache";
    return std::nullopt;
  }
  if (const std::uint64_t found = number_at(bytes, cache_magic.size(), 4); found != cache_version) {
    why = fmt::format("is of version {} (expected {})", found, cache_version);
    return std::nullopt;
  }
  if (number_at(bytes, cache_checksum_at, 8) != XXH3_64bits(bytes.data(), cache_checksum_at)) {
    why = "is damaged: its header does not have the checksum that it gives";
    return std::nullopt;
  }
  RecordCacheHeader header;
  std::size_t at = cache_magic.size() + 8;
  for (std::uint64_t* number : {&header.key, &header.records, &header.data_bytes, &header.summary_bytes,
                                &header.data_hash, &header.index_hash, &header.summary_hash}) {
    *number = number_at(bytes, at, 8);
    at += 8;
  }
  return header;
}

std::string pack_record(const EncodedRecord& record, std::int64_t file, std::int64_t line) {
  std::string bytes(8, '\0');
  put_number(bytes, static_cast<std::uint64_t>(file), 4);
  put_number(bytes, record.sequences.size(), 4);
  put_number(bytes, static_cast<std::uint64_t>(line), 8);
  put_number(bytes, std::bit_cast<std::uint64_t>(record.margin), 8);
  put_number(bytes, record.label ? 1 : 0, 4);
  put_number(bytes, record.columns.size(), 4);
  for (const EncodedSequence& sequence : record.sequences) {
    put_number(bytes, sequence.tokens.size(), 4);
    put_number(bytes, static_cast<std::uint64_t>(sequence.prompt_tokens), 4);
    put_number(bytes, sequence.trained.size(), 4);
    put_number(bytes, sequence.truncated ? 1 : 0, 4);
    for (const TokenSpan& span : sequence.trained) {
      put_number(bytes, static_cast<std::uint64_t>(span.begin), 4);
      put_number(bytes, static_cast<std::uint64_t>(span.end), 4);
    }
    for (const std::int32_t token : sequence.tokens) put_number(bytes, static_cast<std::uint64_t>(token), 4);
  }
  bytes += record.columns;
  std::string hash;
  put_number(hash, XXH3_64bits(bytes.data() + 8, bytes.size() - 8), 8);
  std::copy(hash.begin(), hash.end(), bytes.begin());
  return bytes;
}

std::optional<StoredRecord> unpack_record(std::string_view bytes, std::int64_t vocabulary) {
  Taker taker(bytes);
  const std::uint64_t hash = taker.number(8);
  if (!taker.good() || hash != XXH3_64bits(bytes.data() + 8, bytes.size() - 8)) return std::nullopt;
  StoredRecord record;
  record.file = static_cast<std::int64_t>(taker.number(4));
  const std::uint64_t sequences = taker.number(4);
  record.line = static_cast<std::int64_t>(taker.number(8));
  record.margin = std::bit_cast<double>(taker.number(8));
  record.label = taker.number(4) != 0;
  const std::uint64_t columns = taker.number(4);
  for (std::uint64_t i = 0; i < sequences; ++i) {
    EncodedSequence sequence;
    const std::uint64_t tokens = taker.number(4);
    sequence.prompt_tokens = static_cast<std::int64_t>(taker.number(4));
    const std::uint64_t spans = taker.number(4);
    sequence.truncated = taker.number(4) != 0;
    if (!taker.has(8 * spans + 4 * tokens)) return std::nullopt;
    for (std::uint64_t span = 0; span < spans; ++span) {
      const std::int32_t begin = taker.index();
      sequence.trained.push_back({begin, taker.index()});
    }
    sequence.tokens.reserve(tokens);
    for (std::uint64_t token = 0; token < tokens; ++token) sequence.tokens.push_back(taker.index());
    if (!is_sound(sequence, vocabulary)) return std::nullopt;
    record.sequences.push_back(std::move(sequence));
  }
  record.columns = taker.text(columns);
  if (!taker.done() || record.sequences.empty()) return std::nullopt;
  return record;
}

}  // namespace nll
