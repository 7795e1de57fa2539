#include "src/model/gpt.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels/update_rig.h"
#include "tests/model/reference.h"
#include "tests/model/rig.h"

namespace nll::test {
namespace {

std::vector<float> log_probabilities(Rig& rig, Gpt& gpt, Head& head, const std::vector<std::int32_t>& tokens,
                                     const std::vector<std::int32_t>& targets, std::int64_t sequences) {
  const std::int64_t N = static_cast<std::int64_t>(tokens.size());
  const Tensor hidden = gpt.forward(rig.w, rig.upload(tokens, {sequences, N / sequences}));
  return rig.download(head.score(hidden, rig.upload(targets, {N}), rig.w.wte, false).logp);
}

double mean_loss(const std::vector<float>& logp) {
  double sum = 0;
  for (float value : logp) sum -= value;
  return sum / static_cast<double>(logp.size());
}

TEST(Gpt, LossBeforeTrainingIsThatOfAUniformModel) {
  ModelConfig model;
  model.layers = 3;
  model.heads = 4;
  model.width = 64;
  model.context = 32;
  model.vocabulary = 500;
  Rig rig(model);
  initialize(rig.table, 1337, rig.device, rig.weights);
  Gpt gpt(model, rig.ops, rig.device, 4, 32, Pass::inference);
  Head head(model, rig.head, rig.ops, rig.device, 128);
  const std::vector<float> logp =
      log_probabilities(rig, gpt, head, random_tokens(1, 128, 500), random_tokens(2, 128, 500), 4);
  EXPECT_NEAR(mean_loss(logp), std::log(500.0), 0.3);
}

TEST(Gpt, OverfitsOneBatch) {
  ModelConfig model = tiny_model();
  model.width = 32;
  model.context = 16;
  Rig rig(model);
  initialize(rig.table, 1, rig.device, rig.weights);
  const std::int64_t B = 2, T = 16, n = rig.table.stored_elements();
  const std::vector<std::int32_t> tokens = random_tokens(5, B * T, 19), targets = random_tokens(6, B * T, 19);
  Gpt gpt(model, rig.ops, rig.device, B, T, Pass::training);
  Head head(model, rig.head, rig.ops, rig.device, B * T);
  const Tensor m = rig.zeros({n}), v = rig.zeros({n});
  const UpdateRig update(rig.device, 3e-3f);
  double loss = 0;
  AdamW adamw;
  adamw.clip_norm = 1;
  for (int step = 1; step <= 300; ++step) {
    loss = mean_loss(rig.differentiate(gpt, head, tokens, targets, B, B * T, Into::write));
    global_norm(rig.ops, rig.device, update.norm(), rig.gradients);
    rig.ops.begin_update(update.state(), update.norm(), update.guard(), adamw);
    rig.ops.adamw(rig.weights, {}, m, v, rig.gradients, 0, 0, update.state(), adamw);
  }
  EXPECT_LT(loss, 0.01);
}

TEST(Gpt, ForwardEqualsTheReferenceInDouble) {
  Rig rig(tiny_model());
  rig.randomize(21);
  const std::vector<std::int32_t> tokens = random_tokens(1, 12, 19);
  Gpt gpt(rig.model, rig.ops, rig.device, 2, 6, Pass::inference);
  const std::vector<float> hidden = rig.download(gpt.forward(rig.w, rig.upload(tokens, {2, 6})));
  const std::vector<float> weights = rig.download(rig.weights);
  const std::vector<double> expected =
      Reference{rig.model, rig.table}.hidden({weights.begin(), weights.end()}, tokens, 2);
  ASSERT_EQ(hidden.size(), expected.size());
  // 8 L + 6 ops on values of about 1, each a sum of at most 4 C terms.
  const double tolerance = (8 * 2 + 6) * 4 * 8 * 0x1p-24;
  for (std::size_t i = 0; i < hidden.size(); ++i) EXPECT_NEAR(hidden[i], expected[i], tolerance) << i;
}

TEST(Gpt, LaterTokensNeverChangeEarlierLogProbabilities) {
  Rig rig(tiny_model());
  rig.randomize(22);
  Gpt gpt(rig.model, rig.ops, rig.device, 2, 6, Pass::inference);
  Head head(rig.model, rig.head, rig.ops, rig.device, 12);
  const std::vector<std::int32_t> tokens = random_tokens(1, 12, 19), targets = random_tokens(2, 12, 19);
  const std::vector<float> before = log_probabilities(rig, gpt, head, tokens, targets, 2);
  for (std::size_t changed = 0; changed < 6; ++changed) {
    std::vector<std::int32_t> other = tokens;
    other[changed] = (other[changed] + 1) % 19;
    const std::vector<float> after = log_probabilities(rig, gpt, head, other, targets, 2);
    for (std::size_t i = 0; i < 12; ++i) {
      if (i >= changed && i < 6) continue;
      EXPECT_EQ(after[i], before[i]) << "token " << changed << " changed position " << i;
    }
    EXPECT_NE(after[changed], before[changed]);
  }
}

TEST(Gpt, InferenceIsBitForBitTheTrainingPassWithoutDropout) {
  ModelConfig model = tiny_model();
  model.dropout = 0.5;  // of no effect without a key
  Rig rig(model);
  rig.randomize(23);
  const Tensor tokens = rig.upload(random_tokens(1, 12, 19), {2, 6});
  Gpt training(model, rig.ops, rig.device, 2, 6, Pass::training);
  Gpt inference(model, rig.ops, rig.device, 2, 6, Pass::inference);
  const std::vector<float> trained = rig.download(training.forward(rig.w, tokens));
  EXPECT_EQ(rig.download(inference.forward(rig.w, tokens)), trained);
  const DropoutKey key{1, 1, 0};
  EXPECT_NE(rig.download(training.forward(rig.w, tokens, &key)), trained);
}

TEST(Gpt, ReadsFewerAndShorterSequencesThanItWasPlannedFor) {
  Rig rig(tiny_model());
  rig.randomize(24);
  const std::vector<std::int32_t> tokens = random_tokens(1, 4, 19), targets = random_tokens(2, 4, 19);
  Gpt large(rig.model, rig.ops, rig.device, 3, 6, Pass::training);
  Head large_head(rig.model, rig.head, rig.ops, rig.device, 18);
  Gpt exact(rig.model, rig.ops, rig.device, 1, 4, Pass::training);
  Head exact_head(rig.model, rig.head, rig.ops, rig.device, 4);
  rig.differentiate(large, large_head, random_tokens(3, 18, 19), random_tokens(4, 18, 19), 3, 18, Into::write);
  const std::vector<float> logp = rig.differentiate(large, large_head, tokens, targets, 1, 4, Into::write);
  const std::vector<float> gradients = rig.download(rig.gradients);
  EXPECT_EQ(rig.differentiate(exact, exact_head, tokens, targets, 1, 4, Into::write), logp);
  EXPECT_EQ(rig.download(rig.gradients), gradients);
}

TEST(Gpt, PlanGrowsLinearlyWithTheContext) {
  ModelConfig model;
  const std::int64_t short_plan = Gpt::plan(model, 2, 512, Pass::training).bytes();
  const std::int64_t long_plan = Gpt::plan(model, 2, 1024, Pass::training).bytes();
  EXPECT_EQ(long_plan, 2 * short_plan);
  EXPECT_LT(Gpt::plan(model, 2, 1024, Pass::inference).bytes(), long_plan / 4);
}

TEST(Gpt, CountsFlopsByTheOneDefinition) {
  ModelConfig model;  // GPT-2 124M; its vocabulary is stored in 50,304 rows
  const double parameters = 124439808 + (50304 - 50257) * 768;
  EXPECT_DOUBLE_EQ(training_flops_per_token(model, 1024), 6 * parameters + 6.0 * 12 * 768 * 1024);
}

}  // namespace
}  // namespace nll::test
