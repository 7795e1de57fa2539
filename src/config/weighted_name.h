// Lists of names that are added up, each with a weight if wanted: ["sigmoid", "0.2 sft"].
#pragma once
#include <string>
#include <vector>

namespace nll {

struct WeightedName {
  double weight = 1;
  std::string name;
};

// What `objective.dpo.losses` and `reward.rules` may name.
const std::vector<std::string>& pair_loss_names();
const std::vector<std::string>& reward_rule_names();

// "NAME" or "WEIGHT NAME", apart by blanks; a weight is a finite number other than 0 and may be negative. Throws
// Error(usage) that begins with `key` for anything else, for a name that is not `allowed` or stands twice, and for an
// empty list.
std::vector<WeightedName> weighted_names(const std::vector<std::string>& texts, const std::string& key,
                                         const std::vector<std::string>& allowed);

}  // namespace nll
