// Requests for rewards, as tests need them.
#pragma once
#include <string>

#include "src/rewards/rewards.h"

namespace nll::test {

inline RewardRequest request(std::string completion, std::string columns = {}) {
  RewardRequest made;
  made.prompt = "2 + 2 = ";
  made.completion = std::move(completion);
  made.columns = std::move(columns);
  made.place = "train.jsonl:3";
  return made;
}

}  // namespace nll::test
