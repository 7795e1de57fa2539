#include "src/config/quote.h"

#include <fmt/format.h>

namespace nll {

std::size_t utf8_length(std::string_view text) {
  if (text.empty()) return 0;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // The second byte rules out overlong forms, surrogates and what lies beyond U+10FFFF (Unicode 15, table 3-7).
  const unsigned char second = byte(1);
  if (first == 0xe0 && second < 0xa0) return 0;
  if (first == 0xed && second > 0x9f) return 0;
  if (first == 0xf0 && second < 0x90) return 0;
  if (first == 0xf4 && second > 0x8f) return 0;
  return length;
}

std::optional<std::size_t> invalid_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = utf8_length(text.substr(at));
    if (length == 0) return at;
    at += length;
  }
  return std::nullopt;
}

std::string shown(std::string_view text) {
  constexpr int limit = 60, kept = 57;
  std::string all, head;
  int characters = 0;
  for (std::size_t at = 0; at < text.size(); ++characters) {
    if (characters == kept) head = all;
    if (characters == limit) return head + "...";
    const std::size_t length = utf8_length(text.substr(at));
    const unsigned char first = static_cast<unsigned char>(text[at]);
    // C1 controls (U+0080 to U+009F) and the line separators would break the promise of one line as C0 controls do.
    const bool c1 = length == 2 && first == 0xc2 && static_cast<unsigned char>(text[at + 1]) < 0xa0;
    const bool separator = text.substr(at, length) == "\u2028" || text.substr(at, length) == "\u2029";
    if (length == 0) {
      all += fmt::format("\\x{:02x}", first);
    } else if (first == '\n') {
      all += "\\n";
    } else if (first == '\r') {
      all += "\\r";
    } else if (first == '\t') {
      all += "\\t";
    } else if (first < 0x20 || first == 0x7f) {
      all += fmt::format("\\u{:04x}", first);
    } else if (c1) {
      all += fmt::format("\\u{:04x}", static_cast<unsigned char>(text[at + 1]));
    } else if (separator) {
      all += text.substr(at, length) == "\u2028" ? "\\u2028" : "\\u2029";
    } else {
      all += text.substr(at, length);
    }
    at += length == 0 ? 1 : length;
  }
  return all;
}

std::string in_quotes(std::string_view text) { return "\"" + shown(text) + "\""; }

}  // namespace nll
