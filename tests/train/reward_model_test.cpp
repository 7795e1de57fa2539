#include "src/train/reward_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <optional>

#include "tests/train/rollout_rig.h"

namespace nll::test {
namespace {

struct RewardModelTest : testing::Test {
  Rig rig{rollout_model()};
  Tokenizer tokenizer = byte_tokenizer();

  OpenModel model() {
    rig.randomize(41);
    rig.w.score = rig.upload(std::vector<float>{1, -1, 2, 0.5f, 0, 1, 0, 3, -2, 0, 1, 1, -1, 0, 0.25f, 2}, {16});
    OpenModel made;
    made.folder = "runs/reward";
    made.published = {rig.model, rig.head};
    made.weights = rig.w;
    made.tokenizer = byte_tokenizer();
    return made;
  }
  std::string refusal(OpenModel made, std::int64_t context = 16) {
    return error_of([&] { RewardModel(std::move(made), tokenizer, rig.device, rig.ops, 2, context); });
  }
};

TEST_F(RewardModelTest, ATextIsWorthWhatTheHeadSaysOfItsLastToken) {
  RewardModel rewards(model(), tokenizer, rig.device, rig.ops, 2, 16);
  std::vector<RewardRequest> requests(5);
  for (std::size_t i = 0; i < 5; ++i) requests[i].ids = random_tokens(i, static_cast<std::int64_t>(3 * i), 260);
  const std::vector<double> made = rewards(requests);
  EXPECT_TRUE(std::isnan(made[0])) << "no tokens";
  for (std::size_t i = 1; i < 5; ++i) {
    const auto n = static_cast<std::int64_t>(requests[i].ids.size());
    Gpt gpt(rig.model, rig.ops, rig.device, 1, n, Pass::inference);
    const std::vector<float> hidden = rig.download(gpt.forward(rig.w, rig.upload(requests[i].ids, {1, n})));
    const std::vector<float> score = rig.download(rig.w.score);
    double sum = 0, size = 0;
    for (std::size_t c = 0; c < 16; ++c) {
      const double term = static_cast<double>(hidden[hidden.size() - 16 + c]) * static_cast<double>(score[c]);
      sum += term;
      size += std::abs(term);
    }
    // Another shape may add up the model's products in another order: a few roundings of FP32 a layer.
    EXPECT_NEAR(made[i], sum, 256 * 0x1p-24 * size) << i;
  }
}

TEST_F(RewardModelTest, WhatCannotScoreThisRunIsRefused) {
  OpenModel no_head = model();
  no_head.weights.score = {};
  EXPECT_EQ(refusal(std::move(no_head)), "2: reward.model: runs/reward has no scalar head (score.weight)");
  OpenModel no_tokenizer = model();
  no_tokenizer.tokenizer.reset();
  EXPECT_EQ(refusal(std::move(no_tokenizer)), "2: reward.model: runs/reward has no tokenizer.json");
  OpenModel other = model();
  const std::string_view text = "other";
  other.tokenizer = Tokenizer::train(std::span(&text, 1), 257, 1);
  EXPECT_EQ(refusal(std::move(other)), "2: reward.model: runs/reward has another tokenizer than this run");
  EXPECT_EQ(refusal(model(), 64),
            "2: reward.model: runs/reward reads 32 tokens, and prompt and completion may have 64");
  RewardModel rewards(model(), tokenizer, rig.device, rig.ops, 2, 16);
  RewardRequest long_one;
  long_one.place = "held_out.jsonl:7";
  long_one.ids.assign(17, 1);
  EXPECT_EQ(error_of([&] { rewards(std::span(&long_one, 1)); }),
            "4: held_out.jsonl:7: prompt and completion of 17 tokens for a reward model that reads 16");
}

}  // namespace
}  // namespace nll::test
