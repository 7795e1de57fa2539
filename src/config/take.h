// A config's text and overrides as values: what parsing is before keys are checked against each other.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "src/config/config.h"

namespace nll {

using Places = std::map<std::string, std::string>;  // key -> where it was set

// Puts what text and overrides set over `config`. `place` is shown as it is. Throws Error(usage).
Places take_config(Config& config, const std::string& text, const std::string& place,
                   const std::vector<std::string>& overrides);

}  // namespace nll
