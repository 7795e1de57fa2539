// JSON from files that may be damaged or hostile: UTF-8, one value, no key twice in an object, bounded depth.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "kernels/check.h"

namespace nll {

// Throws Error(exit) "<place>: not valid JSON at byte N", "<place>: key "x" appears twice", ...
nlohmann::json parse_strict_json(std::string_view text, const std::string& place, Exit exit);

}  // namespace nll
