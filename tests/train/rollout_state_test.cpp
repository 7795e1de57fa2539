#include "src/train/rollout_state.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "kernels/check.h"

namespace nll::test {
namespace {

RolloutShape shape() {
  return {.objective = "grpo",
          .prompts = 1,
          .completions = 3,
          .epochs = 2,
          .mini_batches = 2,
          .vocabulary = 10,
          .context = 4,
          .records = 8,
          .needs = {.old_logp = true, .advantages = true}};
}

Rollout rollout() {
  Rollout made;
  made.position = 40;
  made.steps_begun = 2;
  made.gold_tokens = 1;
  for (int i = 0; i < 3; ++i) {
    Completion c;
    c.record = 5;
    c.tokens = {1, 2, 3};
    c.prompt_tokens = i == 2 ? 1 : 2;
    c.logp.assign(static_cast<std::size_t>(c.completion_tokens()), 0.1f * static_cast<float>(i));
    c.advantage = 1.0 / 3 - i;
    made.completions.push_back(c);
  }
  return made;
}

std::string refusal(const std::string& state, Exit exit = Exit::bad_data, const RolloutShape& expected = shape()) {
  try {
    parse_rollout_state(state, expected, "state.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), exit) << error.what();
    return error.what();
  }
  return "none";
}

TEST(RolloutState, ReadsBackWhatWasWritten) {
  const std::string text = rollout_state(rollout(), shape());
  const Rollout back = parse_rollout_state(text, shape(), "state.json");
  EXPECT_EQ(back.position, 40);
  EXPECT_EQ(back.steps_begun, 2);
  EXPECT_EQ(back.gold_tokens, 1);
  EXPECT_EQ(pack_completions(back.completions), pack_completions(rollout().completions));
  EXPECT_EQ(rollout_state(back, shape()), text);
}

TEST(RolloutState, ARolloutOfOtherKeysIsNotGoneOnWith) {
  const std::string text = rollout_state(rollout(), shape());
  RolloutShape other = shape();
  other.objective = "rloo";
  EXPECT_EQ(refusal(text, Exit::usage, other),
            "objective.kind: rloo while the checkpoint state.json is in the middle of a rollout of grpo");
  other = shape();
  other.mini_batches = 4;
  EXPECT_EQ(refusal(text, Exit::usage, other),
            "rollout.mini_batches: 4 while the checkpoint state.json is in the middle of a rollout of 2");
}

TEST(RolloutState, WhatIsDamagedIsRefusedByName) {
  const nlohmann::json whole = nlohmann::json::parse(rollout_state(rollout(), shape()));
  const auto with = [&](const char* key, const nlohmann::json& value) {
    nlohmann::json changed = whole;
    changed[key] = value;
    return refusal(changed.dump());
  };
  EXPECT_NE(refusal("{").find("state.json"), std::string::npos);
  EXPECT_EQ(refusal("[]"), "state.json: the state of a rollout is an array (expected an object)");
  EXPECT_EQ(with("version", 2), "state.json: the state of a rollout is of version 2 (expected 1)");
  EXPECT_EQ(with("position", -1),
            "state.json: the state of a rollout has no \"position\" that is an integer of at least 0");
  EXPECT_EQ(with("steps", 4), "state.json: the state of a rollout is after step 4 of 4 (expected one between)");
  EXPECT_EQ(with("bytes", "####"), "state.json: the state of a rollout has \"bytes\" that are not base64");
  EXPECT_EQ(with("bytes", ""), "state.json: the state of a rollout has 0 completions (expected 3)");
  const std::string bytes = whole["bytes"];
  EXPECT_NE(with("bytes", bytes.substr(0, 40)).find("damaged"), std::string::npos);
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    std::string changed = bytes;
    changed[at] = changed[at] == 'A' ? '/' : 'A';
    nlohmann::json state = whole;
    state["bytes"] = changed;
    // It is refused, or it is another number: never anything that could not be worked with.
    try {
      const Rollout back = parse_rollout_state(state.dump(), shape(), "state.json");
      for (const Completion& c : back.completions) EXPECT_LE(c.tokens.size(), 4u);
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::bad_data);
    }
  }
  RolloutShape needy = shape();
  needy.needs.old_values = true;
  EXPECT_EQ(refusal(whole.dump(), Exit::bad_data, needy),
            "state.json: the state of a rollout lacks numbers that the objective needs");
  RolloutShape fewer = shape();
  fewer.records = 5;
  EXPECT_EQ(refusal(whole.dump(), Exit::bad_data, fewer), "state.json: the state of a rollout names record 5 of 5");
}

}  // namespace
}  // namespace nll::test
