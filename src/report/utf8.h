// UTF-8 as a reporter needs it: whatever bytes come in, what goes out is valid and its width on a screen is known.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace nll {

struct Character {
  char32_t code = 0xfffd;  // U+FFFD for a byte that is no part of a well-formed character
  std::size_t length = 1;  // bytes it takes
  bool valid = false;
};

// The first character of a text that is not empty.
Character leading_character(std::string_view text);
// `text` with every invalid byte replaced by U+FFFD.
std::string valid_utf8(std::string_view text);
// Columns that a terminal gives to `code`: 0 for combining marks, 2 for wide East Asian characters and emoji, else 1.
int display_columns(char32_t code);
// `text` on one line (controls become blanks) and cut to at most `columns`; a cut one ends in "...".
std::string cut_to_columns(std::string_view text, int columns);

}  // namespace nll
