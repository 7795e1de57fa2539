// Names and texts that come out of files, made fit for a one-line message.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace nll {

// In double quotes; control characters, quotes, backslashes and bytes above 126 as \xNN; cut after 64 bytes.
std::string quoted_text(std::string_view text);

// Offset of the first byte that is not part of a well-formed UTF-8 sequence; -1 when there is none.
std::int64_t first_invalid_utf8(std::string_view text);

}  // namespace nll
