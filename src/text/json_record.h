// One record of a .jsonl corpus.
#pragma once
#include <string>
#include <string_view>

namespace nll {

// The string "text" of the JSON object on a line. Throws Error(bad_data), led by `place`.
std::string record_text(std::string_view line, const std::string& place);

}  // namespace nll
