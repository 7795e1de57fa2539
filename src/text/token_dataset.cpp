#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>

#include "kernels/check.h"
#include "kernels/philox.h"
#include "src/text/token_files.h"

namespace nll {
namespace {

// Windows that a file of n tokens gives: one less than fit, so that all of them can be shifted.
std::int64_t windows_in(std::int64_t tokens, std::int64_t context) {
  if (tokens - 1 < context) return 0;
  return std::max<std::int64_t>(1, (tokens - 1) / context - 1);
}

// Where the first window of a file begins in this epoch.
std::int64_t window_shift(std::uint64_t seed, std::int64_t epoch, std::int64_t file, std::int64_t largest) {
  // The permutation of the same epoch draws from the same stream, at indices below 2^63.
  const std::uint64_t index = std::uint64_t{1} << 63 | static_cast<std::uint64_t>(file);
  const PhiloxBlock block =
      philox(seed, random_stream(RandomPurpose::shuffle, static_cast<std::uint64_t>(epoch)), index);
  const std::uint64_t random = static_cast<std::uint64_t>(block.word[1]) << 32 | block.word[0];
  return static_cast<std::int64_t>(random % static_cast<std::uint64_t>(largest + 1));
}

void check_vocabulary(const TokenFileInfo& info, std::int64_t vocabulary) {
  const auto refuse = [&](const std::string& what) { throw Error(Exit::bad_data, info.path + ": " + what); };
  if (info.vocabulary > vocabulary) {
    refuse(fmt::format("made with a vocabulary of {} (the model's is {})", info.vocabulary, vocabulary));
  }
  const bool two_bytes = info.format == TokenFormat::llmc || info.format == TokenFormat::nanogpt;
  if (two_bytes && vocabulary > 65536) {
    refuse(fmt::format("tokens of 2 bytes cannot hold a vocabulary of {} (at most 65536)", vocabulary));
  }
}

}  // namespace

TokenDataset::TokenDataset(std::vector<std::string> paths, std::int64_t context, std::int64_t vocabulary,
                           Short short_files)
    : context_(context), vocabulary_(vocabulary) {
  CHECK(context > 0);
  CHECK(vocabulary > 0);
  CHECK(!paths.empty());
  std::int64_t longest = 0;
  first_window_.push_back(0);
  for (const std::string& path : paths) {
    const TokenFileInfo& info = files_.emplace_back(path).info();
    check_vocabulary(info, vocabulary);
    longest = std::max(longest, info.tokens);
    first_window_.push_back(first_window_.back() + windows_in(info.tokens, context));
  }
  const bool refused = short_files == Short::refused;
  const std::int64_t least = refused ? context + 1 : 2;
  if (longest >= least) return;
  const std::string others = paths.size() > 1 ? fmt::format(" and {} more files", paths.size() - 1) : "";
  throw Error(Exit::bad_data,
              fmt::format("{}{}: at most {} tokens in a file (expected at least {}: {})", paths.front(), others,
                          longest, least, refused ? "the context and one more" : "one and its target"),
              refused ? "use more text or a smaller model.context" : "");
}

std::int64_t TokenDataset::tokens() const {
  std::int64_t sum = 0;
  for (const TokenFile& file : files_) sum += file.info().tokens;
  return sum;
}

std::int64_t TokenDataset::windows() const { return first_window_.back(); }

std::uint64_t TokenDataset::fingerprint() const {
  std::string all;
  for (const TokenFile& file : files_) all += fmt::format("{:016x}", file.fingerprint());
  return XXH3_64bits(all.data(), all.size());
}

void TokenDataset::window(std::uint64_t seed, std::int64_t epoch, std::int64_t index,
                          std::span<std::int32_t> out) const {
  CHECK(index >= 0);
  CHECK(index < windows());
  CHECK(static_cast<std::int64_t>(out.size()) == context_ + 1);
  const auto after = std::upper_bound(first_window_.begin(), first_window_.end(), index);
  const auto file = static_cast<std::size_t>(after - first_window_.begin()) - 1;
  const std::int64_t tokens = files_[file].info().tokens;
  const std::int64_t slack = tokens - 1 - windows_in(tokens, context_) * context_;
  const std::int64_t shift = window_shift(seed, epoch, static_cast<std::int64_t>(file), std::min(context_ - 1, slack));
  files_[file].read(shift + (index - first_window_[file]) * context_, out, vocabulary_);
}

}  // namespace nll
