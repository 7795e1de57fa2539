#include "src/rewards/reward_command.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "kernels/check.h"

namespace nll {
namespace {

constexpr const char* expected = "expected {\"reward\": NUMBER} or {\"reward\": null}";

std::string shortened(const std::string& line) {
  constexpr std::size_t most = 80;
  return line.size() <= most ? line : line.substr(0, most) + "...";
}

}  // namespace

std::string reward_command_line(const RewardRequest& request) {
  // In this order, and the record as it stands in its file.
  nlohmann::ordered_json line;
  line["prompt"] = request.prompt;
  line["completion"] = request.completion;
  line["record"] = nullptr;
  if (!request.columns.empty()) {
    line["record"] = nlohmann::ordered_json::parse(request.columns, nullptr, false);
  } else if (!request.gold.empty()) {
    line["record"] = {{"prompt", request.prompt}, {"completion", request.gold}};
  }
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

double reward_command_answer(const std::string& line) {
  const nlohmann::json answer = nlohmann::json::parse(line, nullptr, false);
  if (!answer.is_object() || !answer.contains("reward")) {
    throw Error(Exit::io, fmt::format("answered {} ({})", line.empty() ? "an empty line" : shortened(line), expected));
  }
  const nlohmann::json& reward = answer["reward"];
  if (reward.is_null()) return std::numeric_limits<double>::quiet_NaN();
  if (!reward.is_number() || !std::isfinite(reward.get<double>())) {
    throw Error(Exit::io, fmt::format("answered {} ({})", shortened(line), expected));
  }
  return reward.get<double>();
}

RewardCommand::RewardCommand(std::vector<std::string> command, std::chrono::seconds limit)
    : command_(std::move(command)), limit_(limit) {}

std::vector<double> RewardCommand::operator()(std::span<const RewardRequest> requests) {
  if (requests.empty()) return {};
  if (!child_) child_ = std::make_unique<ChildProcess>(command_, "reward.command " + command_.front());
  std::string lines;
  for (const RewardRequest& request : requests) lines += reward_command_line(request);
  std::vector<double> rewards;
  try {
    for (const std::string& line : child_->ask(lines, requests.size(), limit_)) {
      try {
        rewards.push_back(reward_command_answer(line));
      } catch (const Error& error) {
        child_->fail(fmt::format("completion {} of {}: it {}", rewards.size() + 1, requests.size(), error.what()));
      }
    }
  } catch (...) {
    child_.reset();  // the next call starts it again
    throw;
  }
  return rewards;
}

}  // namespace nll
