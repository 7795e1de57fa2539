#include "src/train/reference_cache.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include "kernels/check.h"
#include "src/text/input_file.h"
#include "src/text/output_file.h"

namespace nll {
namespace {

static_assert(std::endian::native == std::endian::little);

struct Header {
  std::array<char, 8> magic{'n', 'l', 'l', 'r', 'e', 'f', 's', '1'};
  std::uint64_t key = 0, records = 0, bytes = 0, hash = 0;
};
static_assert(sizeof(Header) == 40);

std::uint64_t hash_of(const std::string& content) { return XXH3_64bits(content.data(), content.size()); }

}  // namespace

std::string reference_cache_path(const std::string& folder, const ReferenceKey& key, std::int64_t records) {
  return (std::filesystem::path(folder) / fmt::format("reference-{:016x}-{}.cache", key.hash(), records)).string();
}

std::string ReferenceCache::content() const {
  std::string bytes(4 * widths.size() + 8 * sums.size(), '\0');
  if (!widths.empty()) std::memcpy(bytes.data(), widths.data(), 4 * widths.size());
  if (!sums.empty()) std::memcpy(bytes.data() + 4 * widths.size(), sums.data(), 8 * sums.size());
  return bytes;
}

ReferenceCache ReferenceCache::parse(const std::string& content, std::int64_t records) {
  const auto refuse = [] { throw Error(Exit::bad_data, "log-probabilities of the reference: damaged"); };
  const auto n = static_cast<std::size_t>(records);
  if (content.size() / 4 < n || (content.size() - 4 * n) % 8 != 0) refuse();
  ReferenceCache cache;
  cache.widths.resize(n);
  cache.sums.resize((content.size() - 4 * n) / 8);
  if (n > 0) std::memcpy(cache.widths.data(), content.data(), 4 * n);
  if (!cache.sums.empty()) std::memcpy(cache.sums.data(), content.data() + 4 * n, 8 * cache.sums.size());
  std::uint64_t sequences = 0;
  for (const std::uint32_t width : cache.widths) sequences += width;
  if (sequences != cache.sums.size()) refuse();
  for (const double sum : cache.sums) {
    if (!std::isfinite(sum)) refuse();
  }
  return cache;
}

void ReferenceCache::write(const std::string& path, std::uint64_t key) const {
  const std::string bytes = content();
  Header header;
  header.key = key;
  header.records = widths.size();
  header.bytes = bytes.size();
  header.hash = hash_of(bytes);
  OutputFile file(path);
  file.write(&header, sizeof header);
  file.write(bytes.data(), static_cast<std::int64_t>(bytes.size()));
  file.publish();
}

ReferenceCache ReferenceCache::read(const std::string& path, std::uint64_t key, std::int64_t records) {
  const auto refuse = [&](const char* what) { throw Error(Exit::bad_data, fmt::format("{}: {}", path, what)); };
  const std::string all = InputFile(path).read_all(std::numeric_limits<std::int64_t>::max());
  Header header;
  const Header expected;
  if (all.size() < sizeof header) refuse("cut short");
  std::memcpy(&header, all.data(), sizeof header);
  if (header.magic != expected.magic) refuse("no file of log-probabilities of a reference");
  if (header.key != key || header.records != static_cast<std::uint64_t>(records)) {
    refuse("made from another reference, other records or another device");
  }
  const std::string content = all.substr(sizeof header);
  if (header.bytes != content.size()) refuse("cut short");
  if (header.hash != hash_of(content)) refuse("damaged: its checksum is another");
  return parse(content, records);
}

}  // namespace nll
