// What is wrong between keys.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "src/config/config.h"

namespace nll {

struct Conflict {
  std::string key;      // the key that is named first
  std::string message;  // "7 does not divide model.width 384"
  std::string hint;
};

// The first conflict between keys of a config for `ranks` processes.
std::optional<Conflict> find_conflict(const Config& config, std::int64_t ranks);

}  // namespace nll
