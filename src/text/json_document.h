// JSON from files of unknown origin: bounded depth, no key twice in an object, one line of complaint.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace nll {

// Throws Error(bad_data), led by `place`, when the text is not one JSON value of at most 32 levels without repeated
// keys.
nlohmann::json parse_json(std::string_view text, const std::string& place);
// What a value is, for messages: "a number", "an object", ...
std::string json_kind(const nlohmann::json& value);

}  // namespace nll
