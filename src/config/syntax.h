// What is wrong with a JSON text that the parser refused: names the place of the offending token, what stands there and
// what was expected.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

#include "src/config/document.h"

namespace nll {

// Where the parser stood when it gave up.
struct SyntaxState {
  std::size_t cursor = 0;  // behind the last good token
  bool complete = false;   // the value of the text was complete
  bool after_key = false;
  bool in_object = false, in_list = false;
  bool has_children = false;  // of that object or list
  std::string place;          // dotted keys of the open objects
};

// Throws Error(usage). `parser_message` is what nlohmann/json said; it is quoted for malformed strings only.
[[noreturn]] void explain_syntax_error(const Source& source, const SyntaxState& state,
                                       const std::string& parser_message);

// Whether a word means infinity or no number in some language: NaN, -inf, Infinity.
bool is_not_finite(std::string_view word);
// First offset at or behind `at` that is neither blank nor inside a complete comment.
std::size_t skip_blanks(std::string_view text, std::size_t at);
// Offset behind the closing quote of the string that starts at `at`.
std::size_t string_end(std::string_view text, std::size_t at);

}  // namespace nll
