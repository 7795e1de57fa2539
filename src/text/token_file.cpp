#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <memory>
#include <string_view>

#include "kernels/check.h"
#include "src/config/quote.h"
#include "src/text/shard_header.h"
#include "src/text/token_files.h"

namespace nll {
namespace {

constexpr std::int64_t llmc_header_bytes = 1024;
constexpr std::uint32_t llmc_magic = 20240520, llmc_uint32_magic = 20240801;

struct KnownMagic {
  std::uint32_t magic;
  const char* what;
};
// Files of the same family that hold no plain tokens.
constexpr KnownMagic other_magics[] = {{20240522, "an llm.c evaluation file"},
                                       {20240326, "an llm.c model"},
                                       {20240327, "an llm.c debug state"},
                                       {20240328, "an llm.c tokenizer"},
                                       {20240527, "an llm.c optimizer state"}};

std::uint32_t little_endian_32(const std::uint8_t* bytes) {
  return bytes[0] | bytes[1] << 8 | bytes[2] << 16 | static_cast<std::uint32_t>(bytes[3]) << 24;
}

[[noreturn]] void refuse(const std::string& path, const std::string& what) {
  throw Error(Exit::bad_data, path + ": " + what);
}

// The start of a file, zeros after its end.
struct Head {
  std::array<std::uint8_t, llmc_header_bytes> bytes{};
  std::int64_t size = 0;

  explicit Head(const InputFile& file) { size = file.read_at(0, bytes.data(), llmc_header_bytes); }
  std::uint32_t word(std::size_t index) const { return little_endian_32(bytes.data() + 4 * index); }
  bool starts_with(std::string_view text) const {
    return size >= static_cast<std::int64_t>(text.size()) && std::memcmp(bytes.data(), text.data(), text.size()) == 0;
  }
};

void require_size(const InputFile& file, std::int64_t header, std::int64_t tokens, std::int64_t bytes_per_token) {
  const std::int64_t expected = header + tokens * bytes_per_token;
  if (file.size() == expected) return;
  refuse(file.path(),
         fmt::format("{} bytes, but its header counts {} tokens (expected {} bytes)", file.size(), tokens, expected));
}

void read_llmc_header(const Head& head, const InputFile& file, std::uint32_t version, std::int64_t bytes_per_token,
                      TokenFileInfo& info) {
  if (head.size < llmc_header_bytes) {
    refuse(file.path(), fmt::format("{} bytes (shorter than its header of {})", file.size(), llmc_header_bytes));
  }
  if (head.word(1) != version) {
    refuse(file.path(), fmt::format("version {} (expected {} after magic {})", head.word(1), version, head.word(0)));
  }
  info.tokens = static_cast<std::int32_t>(head.word(2));
  if (info.tokens < 0) {
    refuse(file.path(), fmt::format("a count of {} tokens (this format cannot count beyond {})", info.tokens,
                                    std::numeric_limits<std::int32_t>::max()));
  }
  require_size(file, llmc_header_bytes, info.tokens, bytes_per_token);
}

// Nothing in the bytes says that a file is nanoGPT's, so whatever looks like a damaged header of another format is not.
void require_plausible_nanogpt(const Head& head, const InputFile& file) {
  std::size_t same = 0;
  for (std::size_t i = 0; i < shard_magic.size(); ++i)
    same += head.bytes[i] == static_cast<std::uint8_t>(shard_magic[i]);
  const bool zeros = head.size == llmc_header_bytes &&
                     std::all_of(head.bytes.begin() + 12, head.bytes.end(), [](std::uint8_t b) { return b == 0; });
  if (same >= 5 || zeros || !file.path().ends_with(".bin")) {
    refuse(file.path(),
           fmt::format("unknown magic 0x{:08x} (expected a token shard of nll, llm.c, or a headerless .bin "
                       "of nanoGPT)",
                       head.word(0)));
  }
  if (file.size() % 2 != 0) {
    refuse(file.path(), fmt::format("{} bytes (expected an even number: no header, 2 bytes a token)", file.size()));
  }
}

void refuse_known_strangers(const Head& head, const InputFile& file) {
  const std::uint32_t magic = head.word(0), swapped = __builtin_bswap32(magic);
  if (swapped == llmc_magic || swapped == llmc_uint32_magic) {
    refuse(file.path(),
           fmt::format("big-endian magic {} (expected little-endian; the file must be converted)", swapped));
  }
  for (const KnownMagic& other : other_magics) {
    if (magic == other.magic) refuse(file.path(), fmt::format("is {} (expected a token shard)", other.what));
  }
  if (head.starts_with("BIN.TOK\n")) refuse(file.path(), "is a BIN.TOK file (expected a token shard)");
  if (head.starts_with("MMIDIDX")) refuse(file.path(), "is a Megatron index (expected a token shard)");
}

}  // namespace

TokenFile::TokenFile(const std::string& path) : file_(path) {
  info_.path = path;
  if (file_.size() == 0) refuse(path, "is empty (expected a token shard)");
  const Head head(file_);
  const std::string_view start(reinterpret_cast<const char*>(head.bytes.data()),
                               static_cast<std::size_t>(std::min<std::int64_t>(head.size, 8)));
  if (shard_magic.starts_with(start)) {
    if (head.size < shard_header_bytes) {
      refuse(path, fmt::format("{} bytes (shorter than its header of {})", file_.size(), shard_header_bytes));
    }
    const ShardHeader header =
        read_shard_header(std::span(head.bytes).first<static_cast<std::size_t>(shard_header_bytes)>(), path);
    require_size(file_, shard_header_bytes, header.tokens, header.bytes_per_token);
    info_ = {path,
             TokenFormat::own,
             header.tokens,
             header.vocabulary,
             header.end_of_text,
             header.tokenizer_hash,
             header.text_bytes,
             header.text_characters};
    bytes_per_token_ = header.bytes_per_token;
    data_offset_ = shard_header_bytes;
  } else if (head.size >= 4 && head.word(0) == llmc_magic) {
    info_.format = TokenFormat::llmc;
    read_llmc_header(head, file_, 1, 2, info_);
    data_offset_ = llmc_header_bytes;
  } else if (head.size >= 4 && head.word(0) == llmc_uint32_magic) {
    info_.format = TokenFormat::llmc_uint32;
    bytes_per_token_ = 4;
    read_llmc_header(head, file_, 7, 4, info_);
    data_offset_ = llmc_header_bytes;
  } else {
    refuse_known_strangers(head, file_);
    require_plausible_nanogpt(head, file_);
    info_.format = TokenFormat::nanogpt;
    info_.tokens = file_.size() / 2;
  }
}

TokenFile::TokenFile(TokenFile&&) noexcept = default;
TokenFile::~TokenFile() = default;

void TokenFile::read(std::int64_t begin, std::span<std::int32_t> out, std::int64_t vocabulary) const {
  const auto count = static_cast<std::int64_t>(out.size());
  CHECK(begin >= 0);
  CHECK(begin <= info_.tokens - count);
  std::vector<std::uint8_t> bytes(out.size() * static_cast<std::size_t>(bytes_per_token_));
  const std::int64_t offset = data_offset_ + begin * bytes_per_token_;
  const std::int64_t got = file_.read_at(offset, bytes.data(), static_cast<std::int64_t>(bytes.size()));
  if (got < static_cast<std::int64_t>(bytes.size())) {
    refuse(info_.path, fmt::format("ends at byte {} (it had {} bytes when it was opened: it shrank while being read)",
                                   offset + got, file_.size()));
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::uint32_t token = bytes_per_token_ == 2 ? static_cast<std::uint32_t>(bytes[2 * i] | bytes[2 * i + 1] << 8)
                                                      : little_endian_32(bytes.data() + 4 * i);
    if (static_cast<std::int64_t>(token) >= vocabulary) {
      refuse(info_.path, fmt::format("token {} at position {} (byte {}) is not in the vocabulary of {}", token,
                                     begin + static_cast<std::int64_t>(i),
                                     offset + static_cast<std::int64_t>(i) * bytes_per_token_, vocabulary));
    }
    out[i] = static_cast<std::int32_t>(token);
  }
}

std::uint64_t TokenFile::fingerprint() const {
  constexpr std::int64_t block = 4096;
  const std::size_t slash = info_.path.rfind('/');
  std::string sample =
      info_.path.substr(slash == std::string::npos ? 0 : slash + 1) + fmt::format("\n{}\n", file_.size());
  // The first block has the header; blocks that overlap in a small file do no harm.
  for (const std::int64_t at : {std::int64_t{0}, file_.size() / 3, 2 * (file_.size() / 3), file_.size() - block}) {
    std::array<char, block> bytes;
    const std::int64_t got = file_.read_at(std::max<std::int64_t>(at, 0), bytes.data(), block);
    sample.append(bytes.data(), static_cast<std::size_t>(got));
  }
  return XXH3_64bits(sample.data(), sample.size());
}

bool TokenFile::verify() const {
  if (info_.format != TokenFormat::own) return false;
  constexpr std::int64_t block = std::int64_t{1} << 20;
  const Head head(file_);
  const ShardHeader header =
      read_shard_header(std::span(head.bytes).first<static_cast<std::size_t>(shard_header_bytes)>(), info_.path);
  const std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state(XXH3_createState(), XXH3_freeState);
  CHECK(state.get() != nullptr);
  XXH3_64bits_reset(state.get());
  std::vector<std::uint8_t> bytes(block);
  for (std::int64_t at = data_offset_; at < file_.size(); at += block) {
    const std::int64_t got = file_.read_at(at, bytes.data(), std::min(block, file_.size() - at));
    XXH3_64bits_update(state.get(), bytes.data(), static_cast<std::size_t>(got));
  }
  if (XXH3_64bits_digest(state.get()) != header.tokens_hash) {
    refuse(info_.path, "the tokens do not have the hash that its header gives (the file is damaged)");
  }
  return true;
}

}  // namespace nll
