#include "src/config/syntax.h"

#include <fmt/format.h>

#include <algorithm>

#include "src/config/quote.h"

namespace nll {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string without_sign_and_case(std::string_view word) {
  if (!word.empty() && (word[0] == '+' || word[0] == '-')) word.remove_prefix(1);
  std::string bare(word);
  std::transform(bare.begin(), bare.end(), bare.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return bare;
}

// The token that starts at `at`, as far as a reader would take it for one.
std::string_view token_at(std::string_view text, std::size_t at) {
  if (text[at] == '"') {
    const std::size_t line_end = std::min(text.find('\n', at), text.size());
    return text.substr(at, std::min(string_end(text, at), line_end) - at);
  }
  const std::size_t end = text.find_first_of(" \t\r\n,:[]{}\"/", at);
  if (end == at) return text.substr(at, 1);
  return text.substr(at, std::min(end, text.size()) - at);
}

// A remedy for the tokens of other languages that people write into JSON.
std::string token_hint(std::string_view token) {
  const std::string bare = without_sign_and_case(token);
  if (is_not_finite(token)) return "a number must be finite";
  if (bare == "true" || bare == "false") return "write " + bare;
  if (bare == "none" || bare == "undefined") return "remove the key to get its default";
  if (bare.empty()) return {};
  if (token[0] == '\'') return "JSON texts stand in double quotes";
  if (token[0] == '#') return "comments start with //";
  if (token[0] == '+' && is_digit(bare[0])) return "write " + bare;
  if (bare[0] == '.' && bare.size() > 1 && is_digit(bare[1])) return "write a digit before the point";
  if (bare[0] >= 'a' && bare[0] <= 'z') return "put texts in double quotes";
  return {};
}

// "invalid string: missing closing quote" out of "... - invalid string: missing closing quote; last read: ...".
std::string lexer_message(const std::string& parser_message) {
  const std::size_t start = parser_message.find(" - ");
  if (start == std::string::npos) return "invalid string";
  const std::size_t end = parser_message.find("; last read", start);
  return parser_message.substr(start + 3, end == std::string::npos ? end : end - start - 3);
}

[[noreturn]] void fail_expected(const Source& source, std::size_t at, const std::string& expected,
                                const std::string& hint = {}) {
  const std::string_view text = source.text;
  if (at >= text.size()) source.fail(at, "the text ends where " + expected + " is expected");
  if (text[at] == '/' && text.substr(at, 2) == "/*") source.fail(at, "comment without an end", "close it with */");
  source.fail(at, "expected " + expected + ", found " + shown(token_at(text, at)), hint);
}

}  // namespace

bool is_not_finite(std::string_view word) {
  const std::string bare = without_sign_and_case(word);
  return bare == "nan" || bare == "inf" || bare == "infinity";
}

std::size_t skip_blanks(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    if (text[at] == ' ' || text[at] == '\t' || text[at] == '\n' || text[at] == '\r') {
      ++at;
    } else if (text.substr(at, 2) == "//") {
      at = std::min(text.find_first_of("\r\n", at), text.size());
    } else if (text.substr(at, 2) == "/*") {
      const std::size_t end = text.find("*/", at + 2);
      if (end == std::string_view::npos) return at;
      at = end + 2;
    } else {
      break;
    }
  }
  return at;
}

std::size_t string_end(std::string_view text, std::size_t at) {
  for (++at; at < text.size(); ++at) {
    if (text[at] == '\\') {
      ++at;
    } else if (text[at] == '"') {
      return at + 1;
    }
  }
  return text.size();
}

std::size_t json_number_length(std::string_view text) {
  std::size_t at = 0;
  const auto digits = [&] {
    const std::size_t start = at;
    while (at < text.size() && is_digit(text[at])) ++at;
    return at > start;
  };
  if (at < text.size() && text[at] == '-') ++at;
  if (at < text.size() && text[at] == '0') {
    ++at;
  } else if (!digits()) {
    return 0;
  }
  std::size_t good = at;
  if (at < text.size() && text[at] == '.') {
    ++at;
    if (!digits()) return good;
    good = at;
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
    if (digits()) good = at;
  }
  return good;
}

void explain_syntax_error(const Source& source, const SyntaxState& state, const std::string& parser_message) {
  const std::string_view text = source.text;
  std::size_t at = skip_blanks(text, state.cursor);
  const auto here = [&](char c) { return at < text.size() && text[at] == c; };
  if (state.complete) {
    if (text.substr(at, 2) == "/*") source.fail(at, "comment without an end", "close it with */");
    source.fail(at, "text behind the end of the JSON: " + shown(text.substr(at)), "remove it");
  }
  const std::string closer = state.in_object ? "\"}\"" : "\"]\"";
  bool after_comma = false;
  if (state.has_children && !state.after_key) {
    if (!here(',')) {
      std::string hint;
      const bool leading_zero = at == state.cursor && at > 0 && text[at - 1] == '0' && at < text.size();
      if (leading_zero && is_digit(text[at])) hint = "a number does not start with 0";
      if (leading_zero && (text[at] == 'x' || text[at] == 'X')) hint = "write numbers in decimal";
      if (here('"') || here('{') || here('[')) hint = "add a comma before it";
      if (here('#')) hint = "comments start with //";
      if (here('_')) hint = "write digits without separators";
      fail_expected(source, at, "\",\" or " + closer, hint);
    }
    at = skip_blanks(text, at + 1);
    after_comma = true;
  }
  const bool trailing_comma = after_comma && (here('}') || here(']'));
  if (state.in_object && !state.after_key) {
    if (!here('"')) {
      std::string hint;
      if (trailing_comma) {
        hint = "remove the comma before it";
      } else if (here('#')) {
        hint = "comments start with //";
      } else if (at < text.size() && is_digit(text[at])) {
        hint = "decimals stand behind a point";
      } else if (at < text.size() && text[at] != ',' && text[at] != ':') {
        hint = "keys stand in double quotes";
      }
      fail_expected(source, at, after_comma ? "a key" : "a key or \"}\"", hint);
    }
    source.fail(at, lexer_message(parser_message) + ": " + shown(token_at(text, at)));
  }
  if (state.after_key) {
    if (!here(':')) fail_expected(source, at, "\":\" after the key");
    at = skip_blanks(text, at + 1);
  }
  const std::string prefix = state.place.empty() ? "" : shown(state.place) + ": ";
  if (here('"')) source.fail(at, prefix + lexer_message(parser_message) + ": " + shown(token_at(text, at)));
  const std::size_t number = at < text.size() ? json_number_length(text.substr(at)) : 0;
  if (number > 0 && number == token_at(text, at).size()) {
    // The number is well formed, so it is its size that the parser refused.
    source.fail(at, prefix + "number too large: " + shown(token_at(text, at)), "a number must be finite");
  }
  std::string hint;
  if (trailing_comma) {
    hint = "remove the comma before it";
  } else if (at < text.size()) {
    hint = token_hint(token_at(text, at));
  }
  if (at < text.size()) {
    if (text.substr(at, 2) == "/*") source.fail(at, "comment without an end", "close it with */");
    source.fail(at, prefix + "expected a value, found " + shown(token_at(text, at)), hint);
  }
  fail_expected(source, at, "a value");
}

}  // namespace nll
