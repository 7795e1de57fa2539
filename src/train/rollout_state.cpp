#include "src/train/rollout_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "kernels/check.h"
#include "src/text/json_document.h"

namespace nll {
namespace {

constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// Base64 (RFC 4648).
std::string to_base64(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    std::uint32_t bits = 0;
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - at);
    for (std::size_t i = 0; i < 3; ++i) {
      bits = bits << 8 | (i < count ? static_cast<unsigned char>(bytes[at + i]) : 0u);
    }
    for (std::size_t i = 0; i < 4; ++i) text.push_back(i <= count ? digits[bits >> (18 - 6 * i) & 63u] : '=');
  }
  return text;
}

// None where it is no such text.
std::optional<std::string> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::array<int, 256> value{};
  value.fill(-1);
  for (std::size_t i = 0; i < digits.size(); ++i) value[static_cast<unsigned char>(digits[i])] = static_cast<int>(i);
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  for (std::size_t at = 0; at < text.size(); at += 4) {
    const std::size_t count = at + 4 == text.size() ? 4 - padding : 4;
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const int digit = i < count ? value[static_cast<unsigned char>(text[at + i])] : 0;
      if (digit < 0) return std::nullopt;
      bits = bits << 6 | static_cast<std::uint32_t>(digit);
    }
    for (std::size_t i = 0; i + 1 < count; ++i) bytes.push_back(static_cast<char>(bits >> (16 - 8 * i)));
  }
  return bytes;
}

struct ShapeKey {
  const char* name;  // in the text
  const char* key;   // of the config
  std::int64_t RolloutShape::*member;
};
constexpr std::array<ShapeKey, 4> shape_keys{{{"prompts", "rollout.prompts", &RolloutShape::prompts},
                                              {"completions", "rollout.completions", &RolloutShape::completions},
                                              {"epochs", "rollout.epochs", &RolloutShape::epochs},
                                              {"mini_batches", "rollout.mini_batches", &RolloutShape::mini_batches}}};

class StateReader {
 public:
  StateReader(const nlohmann::json& state, const std::string& place) : state_(state), place_(place) {
    if (!state.is_object()) refuse("is " + json_kind(state) + " (expected an object)");
  }
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(Exit::bad_data, fmt::format("{}: the state of a rollout {}", place_, what));
  }
  std::int64_t integer(const char* name) const {
    const auto found = state_.find(name);
    if (found == state_.end() || !found->is_number_integer() || *found < 0) {
      refuse(fmt::format("has no \"{}\" that is an integer of at least 0", name));
    }
    return found->get<std::int64_t>();
  }
  const std::string& text(const char* name) const {
    const auto found = state_.find(name);
    if (found == state_.end() || !found->is_string()) refuse(fmt::format("has no text \"{}\"", name));
    return found->get_ref<const std::string&>();
  }
  void same(const std::string& key, const std::string& then, const std::string& now) const {
    if (then == now) return;
    throw Error(
        Exit::usage,
        fmt::format("{}: {} while the checkpoint {} is in the middle of a rollout of {}", key, now, place_, then),
        "go on with what it was until the rollout is over, or start from the weights of the checkpoint");
  }

 private:
  const nlohmann::json& state_;
  const std::string& place_;
};

// Whether the objective has in each completion what its steps will read.
void check_rollout(const Rollout& rollout, const RolloutShape& shape, const StateReader& reader) {
  const std::int64_t expected = shape.prompts * shape.completions;
  if (static_cast<std::int64_t>(rollout.completions.size()) != expected) {
    reader.refuse(fmt::format("has {} completions (expected {})", rollout.completions.size(), expected));
  }
  for (const Completion& c : rollout.completions) {
    if (c.record >= shape.records) {
      reader.refuse(fmt::format("names record {} of {}", c.record, shape.records));
    }
    const Needs& needs = shape.needs;
    if ((needs.old_logp && c.logp.empty()) || (needs.old_values && c.values.empty()) ||
        (needs.reference_logp && c.reference_logp.empty()) || (needs.returns && c.returns.empty()) ||
        (needs.token_advantages && c.token_advantages.empty())) {
      reader.refuse("lacks numbers that the objective needs");
    }
  }
}

}  // namespace

std::string rollout_state(const Rollout& rollout, const RolloutShape& shape) {
  nlohmann::ordered_json state;
  state["version"] = 1;
  state["objective"] = shape.objective;
  for (const ShapeKey& key : shape_keys) state[key.name] = shape.*key.member;
  state["position"] = rollout.position;
  state["steps"] = rollout.steps_begun;
  state["gold_tokens"] = rollout.gold_tokens;
  state["bytes"] = to_base64(pack_completions(rollout.completions));
  return state.dump();
}

Rollout parse_rollout_state(const std::string& state, const RolloutShape& shape, const std::string& place) {
  if (state.size() > most_state_bytes) {
    throw Error(Exit::bad_data, fmt::format("{}: the state of a rollout has {} bytes (expected at most {})", place,
                                            state.size(), most_state_bytes));
  }
  const nlohmann::json json = parse_json(state, place);
  const StateReader reader(json, place);
  if (reader.integer("version") != 1) {
    reader.refuse(fmt::format("is of version {} (expected 1)", reader.integer("version")));
  }
  reader.same("objective.kind", reader.text("objective"), shape.objective);
  for (const ShapeKey& key : shape_keys) {
    reader.same(key.key, std::to_string(reader.integer(key.name)), std::to_string(shape.*key.member));
  }
  Rollout rollout;
  rollout.position = reader.integer("position");
  rollout.steps_begun = reader.integer("steps");
  const std::int64_t all = shape.epochs * shape.mini_batches;
  if (rollout.steps_begun < 1 || rollout.steps_begun >= all) {
    reader.refuse(fmt::format("is after step {} of {} (expected one between)", rollout.steps_begun, all));
  }
  rollout.gold_tokens = reader.integer("gold_tokens");
  const std::optional<std::string> bytes = from_base64(reader.text("bytes"));
  if (!bytes) reader.refuse("has \"bytes\" that are not base64");
  rollout.completions = unpack_completions(*bytes, shape.vocabulary, shape.context, place);
  check_rollout(rollout, shape, reader);
  return rollout;
}

}  // namespace nll
