#include "src/model/head.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/model/reference.h"
#include "tests/model/rig.h"

namespace nll::test {
namespace {

constexpr std::int64_t B = 2, T = 6, N = B * T;

struct Scored {
  std::vector<float> logp, maximum, log_denominator, entropy, mean_logp, sum_p2;
  std::vector<std::int32_t> argmax, rank;
};

Scored score(Rig& rig, const std::vector<std::int32_t>& tokens, const std::vector<std::int32_t>& targets) {
  Gpt gpt(rig.model, rig.ops, rig.device, B, T, Pass::inference);
  Head head(rig.model, rig.head, rig.ops, rig.device, N);
  const TokenStatistics s =
      head.score(gpt.forward(rig.w, rig.upload(tokens, {B, T})), rig.upload(targets, {N}), rig.w.wte, true);
  return {rig.download(s.logp),       rig.download(s.maximum),   rig.download(s.log_denominator),
          rig.download(s.entropy),    rig.download(s.mean_logp), rig.download(s.sum_p2),
          rig.download_i32(s.argmax), rig.download_i32(s.rank)};
}

class HeadStatistics : public testing::TestWithParam<double> {};

TEST_P(HeadStatistics, EqualTheReferenceInDouble) {
  HeadConfig config;
  config.softcap = GetParam();
  Rig rig(tiny_model(), config);
  rig.randomize(31);
  const std::vector<std::int32_t> tokens = random_tokens(1, N, 19);
  std::vector<std::int32_t> targets = random_tokens(2, N, 19);
  targets[4] = ignore_index;
  const Scored found = score(rig, tokens, targets);
  const std::vector<float> weights = rig.download(rig.weights);
  Reference reference{rig.model, rig.table};
  reference.softcap = GetParam();
  const std::vector<ReferenceToken> expected = reference.score({weights.begin(), weights.end()}, tokens, targets, B);
  // 8 L + 6 ops with sums of at most 4 C terms on logits of a few units.
  const double tolerance = (8 * 2 + 6) * 4 * 8 * 0x1p-24 * 4;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(found.logp[i], expected[i].logp, tolerance) << i;
    EXPECT_NEAR(found.maximum[i], expected[i].maximum, tolerance) << i;
    EXPECT_NEAR(found.log_denominator[i], expected[i].log_denominator, tolerance) << i;
    EXPECT_NEAR(found.entropy[i], expected[i].entropy, tolerance) << i;
    EXPECT_NEAR(found.mean_logp[i], expected[i].mean_logp, tolerance) << i;
    EXPECT_NEAR(found.sum_p2[i], expected[i].sum_p2, tolerance) << i;
    EXPECT_EQ(found.argmax[i], expected[i].argmax) << i;
    EXPECT_EQ(found.rank[i], expected[i].rank) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Softcaps, HeadStatistics, testing::Values(0.0, 1.5, 30.0));

TEST(Head, ChunkSizeChangesNothingBeyondRounding) {
  const std::vector<std::int32_t> tokens = random_tokens(1, N, 19), targets = random_tokens(2, N, 19);
  std::vector<float> logp, gradients;
  for (std::int64_t chunk : {N, std::int64_t{1}, std::int64_t{5}, std::int64_t{100}}) {
    HeadConfig config;
    config.chunk_tokens = chunk;
    Rig rig(tiny_model(), config);
    rig.randomize(32);
    Gpt gpt(rig.model, rig.ops, rig.device, B, T, Pass::training);
    Head head(rig.model, rig.head, rig.ops, rig.device, N);
    const std::vector<float> other_logp = rig.differentiate(gpt, head, tokens, targets, B, N, Into::write, {0.1, 0.01});
    const std::vector<float> other_gradients = rig.download(rig.gradients);
    if (logp.empty()) {
      logp = other_logp;
      gradients = other_gradients;
    }
    // A logit is a sum of C products; a row of dwte one of N, the backward pass chains 8 L + 6 ops of 4 C terms.
    for (std::size_t i = 0; i < logp.size(); ++i) ASSERT_NEAR(other_logp[i], logp[i], 2 * 8 * 0x1p-24 * 4) << chunk;
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      ASSERT_NEAR(other_gradients[i], gradients[i], (8 * 2 + 6) * 4 * 8 * 0x1p-24) << chunk << " " << i;
    }
  }
}

TEST(Head, ScoringAndTrainingGiveTheSameLogProbabilities) {
  Rig rig(tiny_model());
  rig.randomize(33);
  const std::vector<std::int32_t> tokens = random_tokens(1, N, 19), targets = random_tokens(2, N, 19);
  Gpt gpt(rig.model, rig.ops, rig.device, B, T, Pass::training);
  Head head(rig.model, rig.head, rig.ops, rig.device, N);
  const std::vector<float> trained = rig.differentiate(gpt, head, tokens, targets, B, N, Into::write);
  EXPECT_EQ(trained, score(rig, tokens, targets).logp);
}

TEST(Head, IgnoredTargetsGiveZerosAndNoGradient) {
  Rig rig(tiny_model());
  rig.randomize(34);
  const std::vector<std::int32_t> tokens = random_tokens(1, N, 19), targets(N, ignore_index);
  Gpt gpt(rig.model, rig.ops, rig.device, B, T, Pass::training);
  Head head(rig.model, rig.head, rig.ops, rig.device, N);
  for (float logp : rig.differentiate(gpt, head, tokens, targets, B, 1, Into::write, {0.1, 0.01}))
    EXPECT_EQ(logp, 0.0f);
  for (float gradient : rig.download(rig.gradients)) ASSERT_EQ(gradient, 0.0f);
}

TEST(Head, LogitsAreProductsOfHiddenStateAndEmbedding) {
  Rig rig(tiny_model());
  rig.randomize(35);
  Head head(rig.model, rig.head, rig.ops, rig.device, 2);
  const std::vector<std::int32_t> ids = random_tokens(1, 16, 1000);
  std::vector<float> hidden(ids.begin(), ids.end());
  for (float& value : hidden) value /= 1000;
  const std::vector<float> logits = rig.download(head.logits(rig.upload(hidden, {2, 8}), rig.w.wte));
  const std::vector<float> wte = rig.download(rig.w.wte);
  const std::size_t Vp = static_cast<std::size_t>(rig.w.wte.dim(0));
  for (std::size_t n = 0; n < 2; ++n) {
    for (std::size_t j = 0; j < Vp; ++j) {
      double sum = 0;
      for (std::size_t c = 0; c < 8; ++c) sum += static_cast<double>(hidden[n * 8 + c]) * wte[j * 8 + c];
      EXPECT_NEAR(logits[n * Vp + j], sum, 8 * 0x1p-24 * 8);
    }
  }
}

TEST(Head, AutomaticChunksHoldWholeBlocksAndNeverMoreThanTheBatch) {
  ModelConfig model;
  HeadConfig head;
  EXPECT_EQ(Head::chunks(model, head, 100).chunk, 100);
  EXPECT_EQ(Head::chunks(model, head, 100000).chunk % 128, 0);
  model.vocabulary = 512;
  const std::int64_t chunk = Head::chunks(model, head, 1 << 20).chunk;
  EXPECT_EQ(chunk % 128, 0);
  EXPECT_LE(chunk * 4 * 512, std::int64_t{64} << 20);
}

}  // namespace
}  // namespace nll::test
