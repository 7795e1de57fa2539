#include "src/infer/generate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <set>

#include "tests/model/rig.h"

namespace nll::test {
namespace {

using Tokens = std::vector<std::int32_t>;

struct Generated {
  Tokens tokens;
  std::vector<double> logp;
  StopReason reason;
};

// A model of context 16 with everything to generate from it.
struct Writer {
  explicit Writer(double softcap = 0) : rig(config(), head(softcap)) {
    rig.randomize(41);
    generator.emplace(rig.model, rig.head, rig.ops, rig.device);
  }
  static ModelConfig config() {
    ModelConfig model = tiny_model();
    model.width = 16;
    model.context = 16;
    return model;
  }
  static HeadConfig head(double softcap) {
    HeadConfig head;
    head.softcap = softcap;
    return head;
  }
  Generated generate(const GenerationRequest& request) {
    Generated made;
    made.reason = generator->generate(rig.w, request, [&](std::int32_t id, double logp) {
      made.tokens.push_back(id);
      made.logp.push_back(logp);
      return true;
    });
    return made;
  }
  // Log-probability of each token after the first by one parallel pass.
  std::vector<float> parallel(const Tokens& tokens) {
    const std::int64_t T = static_cast<std::int64_t>(tokens.size()) - 1;
    Gpt gpt(rig.model, rig.ops, rig.device, 1, T, Pass::inference);
    Head head(rig.model, rig.head, rig.ops, rig.device, T);
    const Tensor hidden = gpt.forward(rig.w, rig.upload(Tokens(tokens.begin(), tokens.end() - 1), {1, T}));
    const Tensor targets = rig.upload(Tokens(tokens.begin() + 1, tokens.end()), {T});
    return rig.download(head.score(hidden, targets, rig.w.wte, false).logp);
  }
  Rig rig;
  std::optional<Generator> generator;
};

// 8 L + 6 ops with sums of at most 4 C terms, on logits of a few units; on either side.
constexpr double tolerance = 2 * (8 * 2 + 6) * 4 * 16 * 0x1p-24 * 4;
static_assert(tolerance < 1e-3);

GenerationRequest request(Tokens prompt, std::int64_t tokens, std::uint64_t seed = 1) {
  GenerationRequest r;
  r.prompt = std::move(prompt);
  r.max_tokens = tokens;
  r.seed = seed;
  return r;
}

class Softcapped : public testing::TestWithParam<double> {};

TEST_P(Softcapped, StepwiseLogProbabilitiesEqualTheParallelPass) {
  Writer writer(GetParam());
  const Tokens tokens = random_tokens(2, 17, 19);
  const std::vector<float> expected = writer.parallel(tokens);
  const std::vector<double> found = writer.generator->score_stepwise(writer.rig.w, tokens);
  ASSERT_EQ(found.size(), 16u);
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-4) << i;
}

TEST_P(Softcapped, GeneratedLogProbabilitiesEqualTheParallelPass) {
  Writer writer(GetParam());
  GenerationRequest r = request(random_tokens(3, 7, 19), 10);
  r.rules.temperature = 1.5;  // changes what is drawn and not what is reported
  r.rules.presence_penalty = 1;
  const Generated made = writer.generate(r);
  Tokens all = r.prompt;
  all.insert(all.end(), made.tokens.begin(), made.tokens.end());
  const std::vector<float> expected = writer.parallel(all);
  ASSERT_EQ(made.tokens.size(), 10u);
  for (std::size_t i = 0; i < 10; ++i) EXPECT_NEAR(made.logp[i], expected[6 + i], 1e-4) << i;
}

INSTANTIATE_TEST_SUITE_P(Generator, Softcapped, testing::Values(0.0, 2.0));

TEST(Decoder, AnySplitOfThePromptGivesTheSameHiddenStates) {
  Writer writer;
  Rig& rig = writer.rig;
  const Tokens tokens = random_tokens(4, 16, 19);
  Decoder decoder(rig.model, rig.ops, rig.device);
  const std::vector<float> whole = rig.download(decoder.read(rig.w, tokens));
  for (std::size_t cut = 1; cut < 16; ++cut) {
    decoder.reset();
    std::vector<float> parts = rig.download(decoder.read(rig.w, std::span(tokens).first(cut)));
    const std::vector<float> rest = rig.download(decoder.read(rig.w, std::span(tokens).subspan(cut)));
    parts.insert(parts.end(), rest.begin(), rest.end());
    EXPECT_TRUE(decoder.full());
    ASSERT_EQ(parts.size(), whole.size());
    for (std::size_t i = 0; i < whole.size(); ++i) ASSERT_NEAR(parts[i], whole[i], tolerance) << cut << " " << i;
  }
}

TEST(Generator, AtTemperatureZeroIsTheSameForEverySeed) {
  Writer writer;
  GenerationRequest a = request({3, 1}, 40, 1), b = request({3, 1}, 40, 2);
  a.rules.temperature = b.rules.temperature = 0;
  EXPECT_EQ(writer.generate(a).tokens, writer.generate(b).tokens);
}

TEST(Generator, SameSeedGivesTheSameTokensAndAnotherSeedOthers) {
  Writer writer, fresh;
  const Generated once = writer.generate(request({3, 1}, 40, 5));
  EXPECT_EQ(writer.generate(request({3, 1}, 40, 5)).tokens, once.tokens);
  EXPECT_EQ(fresh.generate(request({3, 1}, 40, 5)).tokens, once.tokens);
  EXPECT_EQ(fresh.generate(request({3, 1}, 40, 5)).logp, once.logp);
  EXPECT_NE(writer.generate(request({3, 1}, 40, 6)).tokens, once.tokens);
}

TEST(Generator, GoesOnInAnotherCallAsInOne) {
  Writer writer;
  const Generated whole = writer.generate(request({3, 1, 4}, 12, 5));
  const Generated first = writer.generate(request({3, 1, 4}, 5, 5));
  Tokens prompt = {3, 1, 4};
  prompt.insert(prompt.end(), first.tokens.begin(), first.tokens.end());
  Tokens both = first.tokens;
  const Generated second = writer.generate(request(prompt, 7, 5));
  both.insert(both.end(), second.tokens.begin(), second.tokens.end());
  EXPECT_EQ(both, whole.tokens);
}

TEST(Generator, SlidesTheWindowAndGoesOnWhenTheContextIsFull) {
  Writer writer;
  const Generated made = writer.generate(request(random_tokens(6, 4, 19), 50));
  ASSERT_EQ(made.tokens.size(), 50u);
  EXPECT_EQ(made.reason, StopReason::length);
  Tokens all = random_tokens(6, 4, 19);
  all.insert(all.end(), made.tokens.begin(), made.tokens.end());
  // Token 17 is the first that the first window cannot read: its last 8 tokens, with it, become the next window, which
  // holds 16 at token 25 and slides again at 26, and so every 9 tokens from then on.
  std::size_t begin = 0, read = 4;
  for (std::size_t i = 4; i < all.size(); ++i) {
    if (read == 17) {
      begin = i - 8;
      read = 8;
    }
    const Tokens window(all.begin() + static_cast<std::ptrdiff_t>(begin),
                        all.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    ASSERT_NEAR(made.logp[i - 4], writer.parallel(window).back(), 1e-4) << i;
    ++read;
  }
}

TEST(Generator, ReadsTheEndOfAPromptLongerThanTheContext) {
  Writer writer;
  const Tokens prompt = random_tokens(7, 40, 19);
  const Generated made = writer.generate(request(prompt, 1));
  Tokens window(prompt.end() - 16, prompt.end());
  window.push_back(made.tokens.front());
  EXPECT_NEAR(made.logp.front(), writer.parallel(window).back(), 1e-4);
}

TEST(Generator, WorksWithAContextOfOne) {
  ModelConfig model = tiny_model();
  model.context = 1;
  Rig rig(model);
  rig.randomize(1);
  Generator generator(model, rig.head, rig.ops, rig.device);
  int made = 0;
  generator.generate(rig.w, request({1, 2, 3}, 9), [&](std::int32_t, double) { return ++made < 100; });
  EXPECT_EQ(made, 9);
}

TEST(Generator, StopsAtEndOfTextWhenAskedAndAtItsLength) {
  Writer writer;
  const Generated free_run = writer.generate(request({2}, 30));
  GenerationRequest r = request({2}, 30);
  r.end_of_text = free_run.tokens[7];
  const Generated ended = writer.generate(r);
  EXPECT_EQ(ended.reason, StopReason::end_of_text);
  EXPECT_EQ(ended.tokens.back(), r.end_of_text);
  EXPECT_LE(ended.tokens.size(), 8u);
  int seen = 0;
  const StopReason asked =
      writer.generator->generate(writer.rig.w, request({2}, 30), [&](std::int32_t, double) { return ++seen < 3; });
  EXPECT_EQ(asked, StopReason::asked);
  EXPECT_EQ(seen, 3);
  EXPECT_EQ(writer.generate(request({2}, 0)).reason, StopReason::length);
}

TEST(Generator, NeverDrawsPaddedColumnsOrIdsBeyondTheTokenizer) {
  Writer writer;
  // The stored vocabulary has 32 rows for 19 ids; give the padding weights that would always win.
  const Tensor padding = writer.rig.w.wte.slice(19, writer.rig.w.wte.dim(0) - 19);
  const std::vector<float> large(static_cast<std::size_t>(padding.size()), 100.0f);
  writer.rig.device.upload(padding, large.data());
  writer.rig.device.synchronize();
  GenerationRequest r = request({2}, 200);
  r.rules.temperature = 100;
  std::set<std::int32_t> drawn;
  for (std::int32_t id : writer.generate(r).tokens) drawn.insert(id);
  EXPECT_EQ(drawn.size(), 19u);
  EXPECT_EQ(*drawn.rbegin(), 18);
  r.vocabulary = 5;
  for (std::int32_t id : writer.generate(r).tokens) EXPECT_LT(id, 5);
}

TEST(Generator, PenaltiesChangeWhatIsDrawn) {
  Writer writer;
  GenerationRequest r = request({2, 2, 2}, 19);
  r.rules.temperature = 0;
  r.rules.presence_penalty = 2;
  r.rules.frequency_penalty = 2;
  const Tokens with = writer.generate(r).tokens;
  r.rules = {};
  r.rules.temperature = 0;
  const Tokens without = writer.generate(r).tokens;
  EXPECT_GT(std::set<std::int32_t>(with.begin(), with.end()).size(),
            std::set<std::int32_t>(without.begin(), without.end()).size());
}

TEST(Generator, RefusesPromptsAndWeightsThatCannotBeRead) {
  Writer writer;
  const auto failure = [&](const GenerationRequest& r) {
    try {
      writer.generate(r);
    } catch (const Error& error) {
      return std::pair{error.exit(), std::string(error.what())};
    }
    return std::pair{Exit::done, std::string()};
  };
  EXPECT_EQ(failure(request({}, 1)),
            (std::pair{Exit::usage, std::string("the prompt has no tokens (expected at least one)")}));
  EXPECT_EQ(failure(request({1, 19}, 1)),
            (std::pair{Exit::bad_data,
                       std::string("token 1 of the prompt is 19 (expected 0 to 18, the model's vocabulary)")}));
  EXPECT_EQ(failure(request({1, -1}, 1)).first, Exit::bad_data);
  EXPECT_EQ(failure(request({1}, -1)),
            (std::pair{Exit::usage,
                       std::string("--max-tokens: -1 is out of range (expected a whole number of at least 0)")}));
  GenerationRequest bad = request({1}, 1);
  bad.rules.top_p = 2;
  EXPECT_EQ(failure(bad).first, Exit::usage);
  const std::vector<float> nan = {NAN};
  writer.rig.device.upload(writer.rig.w.final_bias.slice(0, 1), nan.data());
  EXPECT_EQ(failure(request({1}, 1)).first, Exit::bad_data);
}

TEST(Generator, PlansEverythingItAllocates) {
  ModelConfig model;
  std::int64_t cache = 0;
  for (const ArenaPlan& plan : Generator::plans(model, {})) {
    if (plan.name() == "KV cache") cache = plan.bytes();
    EXPECT_GT(plan.bytes(), 0) << plan.name();
  }
  EXPECT_EQ(cache, 2 * 12 * 1024 * 768 * 4);
}

}  // namespace
}  // namespace nll::test
