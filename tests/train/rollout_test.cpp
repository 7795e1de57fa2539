#include "src/train/rollout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <set>

#include "kernels/check.h"

namespace nll::test {
namespace {

Completion completion(std::int64_t record, std::vector<std::int32_t> tokens, std::int64_t prompt) {
  Completion c;
  c.record = record;
  c.tokens = std::move(tokens);
  c.prompt_tokens = prompt;
  return c;
}

Completion full() {
  Completion c = completion(3, {5, 6, 7, 8}, 2);
  c.gold_tokens = 1;
  c.ended = true;
  c.reward = std::numeric_limits<double>::quiet_NaN();
  c.rule_rewards = {0.1, -0.0};
  c.sampled_logp = {0, -1.5f};
  c.logp = {-0.1f, std::numeric_limits<float>::denorm_min()};
  c.reference_logp = {-3e38f, -0.0f};
  c.values = {0.25f, -1, 1.0f / 3};
  c.advantage = 1.0 / 3;
  c.token_advantages = {1e-300, -2};
  c.returns = {0.1, 0.2};
  return c;
}

std::string refusal(const std::string& bytes, std::int64_t vocabulary = 10, std::int64_t context = 4) {
  try {
    unpack_completions(bytes, vocabulary, context, "here");
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::bad_data);
    return error.what();
  }
  return "none";
}

TEST(Completion, ComesBackFromBytesBitForBit) {
  const std::string bytes = pack_completions({full(), completion(0, {1, 2}, 1)});
  const std::vector<Completion> back = unpack_completions(bytes, 10, 4, "here");
  ASSERT_EQ(back.size(), 2u);
  EXPECT_EQ(pack_completions(back), bytes);
  EXPECT_TRUE(std::isnan(back[0].reward));
  EXPECT_EQ(std::bit_cast<std::uint32_t>(back[0].reference_logp[1]), 0x80000000u);
  EXPECT_EQ(back[0].values, full().values);
  EXPECT_EQ(back[1].tokens, (std::vector<std::int32_t>{1, 2}));
}

TEST(Completion, DamagedBytesAreRefused) {
  const std::string bytes = pack_completions({full()});
  for (std::size_t size = 1; size < bytes.size(); ++size) EXPECT_NE(refusal(bytes.substr(0, size)), "none") << size;
  EXPECT_EQ(refusal(bytes), "none");
  EXPECT_NE(refusal(bytes, 8).find("a token outside of the vocabulary"), std::string::npos);
  EXPECT_NE(refusal(bytes, 10, 3).find("a sequence is longer than the context"), std::string::npos);
  EXPECT_EQ(refusal(bytes, 10, 3).find("here: the completions of a rollout are damaged at byte "), 0u);
  Completion wrong = full();
  wrong.values.pop_back();
  EXPECT_NE(refusal(pack_completions({wrong})).find("a list of the wrong length"), std::string::npos);
  wrong = full();
  wrong.prompt_tokens = 4;
  EXPECT_NE(refusal(pack_completions({wrong})).find("without tokens"), std::string::npos);
}

TEST(RolloutCut, StepsOfAnEpochPartAllCompletionsAndRanksPartAStep) {
  RolloutCut cut;
  cut.completions = 14;
  cut.epochs = 3;
  cut.mini_batches = 4;
  cut.sequences = 2;
  cut.seed = 5;
  std::set<std::vector<std::int64_t>> orders;
  for (std::int64_t index : {0, 1}) {
    for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
      std::vector<std::int64_t> all;
      for (std::int64_t k = 4 * epoch; k < 4 * epoch + 4; ++k) {
        const std::vector<std::int64_t> step = cut.of_step(index, k);
        std::vector<std::int64_t> together;
        for (cut.rank = 0, cut.ranks = 3; cut.rank < 3; ++cut.rank) {
          const std::vector<std::int64_t> mine = cut.of_rank(step);
          EXPECT_LE(static_cast<std::int64_t>(mine.size()), cut.micro_batches() * cut.sequences);
          together.insert(together.end(), mine.begin(), mine.end());
        }
        EXPECT_EQ(together, step);
        all.insert(all.end(), step.begin(), step.end());
      }
      orders.insert(all);
      std::sort(all.begin(), all.end());
      for (std::int64_t i = 0; i < 14; ++i) EXPECT_EQ(all.at(static_cast<std::size_t>(i)), i);
    }
  }
  EXPECT_EQ(orders.size(), 6u) << "each pass has an order of its own";
}

TEST(RolloutBatch, TargetsAreTheCompletionsTokensAndNumbersStandWhereTheyArePredicted) {
  RolloutCut cut;
  cut.sequences = 3;
  cut.context = 5;
  cut.padding = 9;
  Completion masked = full();
  masked.learned = false;
  const Completion kept = full();
  const StepBatch made = rollout_batch({&kept, &masked}, cut,
                                       {.reference_logp = true,
                                        .old_logp = true,
                                        .old_values = true,
                                        .advantages = true,
                                        .token_advantages = true,
                                        .returns = true});
  EXPECT_EQ(made.batch.tokens, (std::vector<std::int32_t>{5, 6, 7, 8, 9, 5, 6, 7, 8, 9, 9, 9, 9, 9, 9}));
  EXPECT_EQ(made.batch.targets, (std::vector<std::int32_t>{-100, 7, 8, -100, -100, -100, 7, -100, -100, -100,  //
                                                           -100, -100, -100, -100, -100}))
      << "gold tokens stay where sampled ones are masked";
  EXPECT_EQ(made.old_logp[1], kept.logp[0]);
  EXPECT_EQ(made.old_logp[2], kept.logp[1]);
  EXPECT_EQ(made.old_values[7], kept.values[1]);
  EXPECT_EQ(made.reference_logp[1], kept.reference_logp[0]);
  EXPECT_EQ(made.token_advantages[2], -2);
  EXPECT_EQ(made.returns[6], 0.1);
  EXPECT_EQ(made.advantages, (std::vector<double>{1.0 / 3, 1.0 / 3, 0}));
  EXPECT_EQ(made.batch.sequence_info[0].record, 3);
  EXPECT_EQ(made.batch.sequence_info[0].prompt_tokens, 2);
  EXPECT_EQ(made.batch.sequence_info[0].tokens, 4);
  EXPECT_EQ(made.batch.sequence_info[2].record, -1);
  EXPECT_TRUE(rollout_batch({&kept}, cut, {}).returns.empty());
}

}  // namespace
}  // namespace nll::test
