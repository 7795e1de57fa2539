#include "src/report/markup.h"

#include <fmt/format.h>

#include <cmath>

#include "src/report/utf8.h"

namespace nll {
namespace {

// Calls take(code, bytes) for each character; what is no UTF-8, or no character of XML, comes as U+FFFD.
template <class Take>
void walk_characters(std::string_view text, const Take& take) {
  for (std::size_t at = 0; at < text.size();) {
    const Character character = leading_character(text.substr(at));
    const bool sound = character.valid && (character.code & 0xfffe) != 0xfffe;
    take(sound ? character.code : char32_t{0xfffd},
         sound ? text.substr(at, character.length) : std::string_view("\xef\xbf\xbd"));
    at += character.length;
  }
}

// The picture of a control character: U+2400 and on; of DEL U+2421.
std::string picture(char32_t control) {
  const char32_t code = control == 0x7f ? 0x2421 : 0x2400 + control;
  return {'\xe2', static_cast<char>(0x80 | (code >> 6 & 0x3f)), static_cast<char>(0x80 | (code & 0x3f))};
}

}  // namespace

std::string html_text(std::string_view text) {
  std::string escaped;
  escaped.reserve(text.size() + text.size() / 8);
  walk_characters(text, [&](char32_t code, std::string_view bytes) {
    if (code == '&') {
      escaped += "&amp;";
    } else if (code == '<') {
      escaped += "&lt;";
    } else if (code == '>') {
      escaped += "&gt;";
    } else if (code == '"') {
      escaped += "&quot;";
    } else if ((code < 0x20 && code != '\n' && code != '\t') || code == 0x7f) {
      escaped += picture(code);
    } else if (code >= 0x80 && code < 0xa0) {
      escaped += "\xef\xbf\xbd";
    } else {
      escaped += bytes;
    }
  });
  return escaped;
}

std::string script_text(std::string_view text) {
  std::string json = "\"";
  walk_characters(text, [&](char32_t code, std::string_view bytes) {
    const bool special = code < 0x20 || code == '<' || code == '>' || code == '&' || code == '"' || code == '\\' ||
                         code == 0x2028 || code == 0x2029;
    json += special ? fmt::format("\\u{:04x}", static_cast<unsigned>(code)) : std::string(bytes);
  });
  return json + "\"";
}

std::string script_number(double value) { return std::isfinite(value) ? fmt::format("{:.6g}", value) : "null"; }

}  // namespace nll
