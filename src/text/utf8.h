// UTF-8 as text that may be broken: what is a character, what is valid, what counts as one character.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace nll {

struct Utf8Character {
  std::uint32_t code_point = 0;
  std::size_t length = 0;  // bytes; 0 where the text does not begin with a valid character
};

// The first character of the text. Overlong forms, surrogates and values above U+10FFFF are not valid.
Utf8Character first_character(std::string_view text);
// The last character of the text, of length 0 where the text does not end with a valid one.
Utf8Character last_character(std::string_view text);
// Bytes of the longest valid start of the text.
std::size_t valid_prefix(std::string_view text);
// Bytes up to the first place where a valid character begins.
std::size_t invalid_prefix(std::string_view text);
// Bytes that are no continuation byte: the code points of valid text, and a sum over any parts it is cut into.
std::int64_t count_characters(std::string_view text);
void append_utf8(std::string& text, std::uint32_t code_point);
// Unicode's White_Space.
bool is_white_space(std::uint32_t code_point);

}  // namespace nll
