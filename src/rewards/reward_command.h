// Rewards by a program of the user: docs/rewards.md.
#pragma once
#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "src/rewards/child_process.h"
#include "src/rewards/rewards.h"

namespace nll {

// The line that the program is sent for a completion, and the number in its answer (NaN for null). Bytes that are not
// UTF-8 are sent as U+FFFD. Throws Error(io), without a place, where a line is no answer.
std::string reward_command_line(const RewardRequest& request);
double reward_command_answer(const std::string& line);

class RewardCommand {
 public:
  // Starts nothing yet: the program starts with the first request and runs until this is destroyed.
  RewardCommand(std::vector<std::string> command, std::chrono::seconds limit);
  // Each call has the limit. Throws Error(io) where the program ends, does not answer in time, answers with a line that
  // is no reward, or with a line too many.
  std::vector<double> operator()(std::span<const RewardRequest> requests);

 private:
  std::vector<std::string> command_;
  std::chrono::seconds limit_;
  std::unique_ptr<ChildProcess> child_;
};

}  // namespace nll
