// Rewards: numbers for sampled completions, by the rules of section `reward` of a config: docs/rewards.md.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "src/config/records_config.h"
#include "src/config/weighted_name.h"

namespace nll {

// A completion as rules see it.
struct RewardRequest {
  std::string prompt, completion;  // names of special tokens left out
  std::string columns;             // the record as a JSON object; empty: it has none
  std::string gold;                // the record's own completion; empty: it has none
  std::string place;               // of the record, for errors
  std::int64_t tokens = 0;         // of the completion, an end of text not counted
  std::vector<std::int32_t> ids;   // prompt and completion, for rule `model`
};

// One number for each request, higher is better; NaN where a completion cannot be scored.
using RewardFunction = std::function<std::vector<double>(std::span<const RewardRequest>)>;

struct Rewards {
  // Weighted sum of the rules that could score; NaN where none could.
  std::vector<double> total;
  std::vector<std::vector<double>> by_rule;  // in the order of rules(), before the weights
};

class RewardRules {
 public:
  // Throws Error(usage) with the key where a rule lacks what it needs: a pattern, a target, a model, a command. `model`
  // is what rule `model` calls.
  explicit RewardRules(const RewardConfig& config, RewardFunction model = {});
  const std::vector<WeightedName>& rules() const { return rules_; }
  bool uses(const std::string& rule) const;

  // A function of the requests, apart from rule `command`, which is what its program is. Throws Error(bad_data) that
  // names record and field where a rule's field is missing, Error(io) where the program fails (reward_command.h).
  Rewards operator()(std::span<const RewardRequest> requests);

 private:
  std::vector<WeightedName> rules_;
  std::vector<RewardFunction> functions_;
};

}  // namespace nll
