// How text of unknown origin is shown in a message: on one line, valid UTF-8, control characters escaped, cut when
// long.
#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace nll {

// `text` with control characters and invalid bytes escaped; of more than 60 characters the first 57 and "...".
std::string shown(std::string_view text);
// The same in double quotes.
std::string in_quotes(std::string_view text);
// Length in bytes of the well-formed UTF-8 character at the start of `text`; 0 when there is none.
std::size_t utf8_length(std::string_view text);
// Byte offset of the first byte that is no part of a well-formed UTF-8 character.
std::optional<std::size_t> invalid_utf8(std::string_view text);

}  // namespace nll
