#include "src/dist/agreement.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <optional>

namespace nll {

namespace {

// A failure as the text that ranks exchange: one byte of exit code + 1, the message, a NUL, the hint. Empty: none.
std::string text_of(const std::optional<Error>& failure) {
  if (!failure) return {};
  return std::string(1, static_cast<char>(static_cast<int>(failure->exit()) + 1)) + failure->what() + '\0' +
         failure->hint();
}

Error error_of(const std::string& text, const std::string& prefix) {
  const std::size_t end = std::min(text.find('\0', 1), text.size());
  const auto exit = static_cast<Exit>(static_cast<unsigned char>(text[0]) - 1);
  return {exit, prefix + text.substr(1, end - 1), end < text.size() ? text.substr(end + 1) : ""};
}

}  // namespace

std::string rank_name(const World& world) {
  return world.size == 1 ? "" : fmt::format("rank {} {}", world.rank, world.host);
}

std::vector<std::string> exchange_texts(Transport& transport, const std::string& mine, const Operation& operation) {
  const auto bytes_of = [](const void* data, std::size_t size) {
    return std::span(static_cast<const std::uint8_t*>(data), size);
  };
  const std::uint64_t length = mine.size();
  const std::vector<std::uint8_t> lengths = transport.exchange(bytes_of(&length, sizeof length), operation);
  const std::size_t ranks = lengths.size() / sizeof length;
  std::vector<std::uint64_t> sizes(ranks);
  std::memcpy(sizes.data(), lengths.data(), lengths.size());
  const std::size_t longest = *std::max_element(sizes.begin(), sizes.end());
  std::vector<std::string> texts(ranks);
  if (longest == 0) return texts;
  std::string padded = mine;
  padded.resize(longest);
  const std::vector<std::uint8_t> all = transport.exchange(bytes_of(padded.data(), longest), operation);
  for (std::size_t r = 0; r < ranks; ++r)
    texts[r].assign(reinterpret_cast<const char*>(all.data()) + r * longest, sizes[r]);
  return texts;
}

void together(Transport& transport, const char* name, const std::function<void()>& work) {
  std::optional<Error> failure;
  try {
    work();
  } catch (const Error& error) {
    failure = error;
  }
  const World& world = transport.world();
  if (world.size == 1) {
    if (failure) throw *failure;
    return;
  }
  const std::vector<std::string> failures = exchange_texts(transport, text_of(failure), {name, -1, -1});
  const auto first = std::find_if(failures.begin(), failures.end(), [](const std::string& f) { return !f.empty(); });
  if (first == failures.end()) return;
  const std::vector<std::string> hosts = exchange_texts(transport, rank_name(world), {name, -1, -1});
  const bool alike = std::all_of(failures.begin(), failures.end(), [&](const std::string& f) { return f == *first; });
  const std::string prefix = alike ? "" : "[" + hosts[static_cast<std::size_t>(first - failures.begin())] + "] ";
  const Error agreed = error_of(*first, prefix);
  throw AgreedError(agreed.exit(), agreed.what(), agreed.hint());
}

void require_same(Transport& transport, const std::string& what, const std::string& mine) {
  if (transport.world().size == 1) return;
  const std::vector<std::string> all = exchange_texts(transport, mine, {"comparison at the start", -1, -1});
  std::map<std::string, int> counts;
  for (const std::string& text : all) counts[text] += 1;
  if (counts.size() == 1) return;
  // Rank 0 is right where there is no majority.
  std::string right = all[0];
  for (const auto& [text, count] : counts) {
    if (count > counts[right]) right = text;
  }
  const std::vector<std::string> names = exchange_texts(transport, rank_name(transport.world()), {"names", -1, -1});
  std::string odd;
  for (std::size_t r = 0; r < all.size(); ++r) {
    if (all[r] != right) odd += (odd.empty() ? "" : ", ") + fmt::format("{} has {}", names[r], all[r]);
  }
  throw AgreedError(Exit::usage, fmt::format("{}: not the same on all ranks: {} (expected {})", what, odd, right),
                    "start all ranks with the same program, config and data");
}

}  // namespace nll
