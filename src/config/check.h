// What is wrong between keys.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "src/config/config.h"
#include "src/config/weighted_name.h"

namespace nll {

struct Conflict {
  std::string key;      // the key that is named first
  std::string message;  // "7 does not divide model.width 384"
  std::string hint;
};

// The first conflict between keys of a config for `ranks` processes.
std::optional<Conflict> find_conflict(const Config& config, std::int64_t ranks);
// Its part that is about the objective of objective.kind, the records it learns from, rollouts and rewards.
std::optional<Conflict> find_objective_conflict(const Config& config, std::int64_t ranks);
// What weighted_names throws, or nothing: then `names` are the names.
std::optional<Conflict> read_weighted_names(const std::vector<std::string>& texts, const std::string& key,
                                            const std::vector<std::string>& allowed, std::vector<WeightedName>& names);

}  // namespace nll
