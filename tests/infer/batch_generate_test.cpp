#include "src/infer/batch_generate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "tests/model/rig.h"

namespace nll::test {
namespace {

using Tokens = std::vector<std::int32_t>;

constexpr std::int64_t V = 19;

struct Desk {
  explicit Desk(std::int64_t context = 32) : rig(config(context)) { rig.randomize(41); }
  static ModelConfig config(std::int64_t context) {
    ModelConfig model = tiny_model();
    model.width = 16;
    model.context = context;
    return model;
  }
  std::vector<WrittenText> write(const BatchRequest& request, std::int64_t sequences) {
    BatchGenerator generator(rig.model, rig.head, rig.ops, rig.device, sequences);
    return generator.generate(rig.w, request);
  }
  // Log-probabilities at `temperature` of what one parallel pass says of the tokens after the first.
  std::vector<double> parallel(const Tokens& tokens, double temperature) {
    const std::int64_t T = static_cast<std::int64_t>(tokens.size()) - 1;
    Gpt gpt(rig.model, rig.ops, rig.device, 1, T, Pass::inference);
    Head head(rig.model, rig.head, rig.ops, rig.device, T);
    const Tensor hidden = gpt.forward(rig.w, rig.upload(Tokens(tokens.begin(), tokens.end() - 1), {1, T}));
    const std::vector<float> logits = rig.download(head.logits(hidden, rig.w.wte));
    const std::size_t Vp = logits.size() / static_cast<std::size_t>(T);
    std::vector<double> logp, scores(V);
    for (std::size_t t = 0; t + 1 < tokens.size(); ++t) {
      model_scores(std::span(logits).subspan(t * Vp, Vp), head.shape(), scores);
      logp.push_back(log_probability(scores, tokens[t + 1], temperature));
    }
    return logp;
  }
  // The packed products of these give each row the same bits whatever the other rows are.
  bool exact() const { return rig.device.info().instructions != "generic"; }
  void expect_same(const WrittenText& a, const WrittenText& b) const {
    EXPECT_EQ(a.tokens, b.tokens);
    EXPECT_EQ(a.reason, b.reason);
    if (exact()) {
      EXPECT_EQ(a.logp, b.logp);
      EXPECT_EQ(a.model_logp, b.model_logp);
    }
  }
  Rig rig;
};

BatchRequest request(std::vector<Tokens> prompts, std::int64_t max_tokens) {
  BatchRequest r;
  r.max_tokens = max_tokens;
  r.seed = 5;
  for (Tokens& prompt : prompts) r.prompts.push_back({std::move(prompt), r.prompts.size()});
  return r;
}

// Prompts of 1 to `longest` tokens, some of them twice.
std::vector<Tokens> mixed_prompts(std::size_t count, std::size_t longest) {
  std::vector<Tokens> prompts;
  for (std::size_t i = 0; i < count; ++i)
    prompts.push_back(random_tokens(100 + i / 2, static_cast<std::int64_t>(1 + (i / 2 * 5) % longest), V));
  return prompts;
}

class Temperature : public testing::TestWithParam<double> {};

TEST_P(Temperature, ATextDoesNotDependOnTheBatchItIsIn) {
  Desk desk;
  BatchRequest all = request(mixed_prompts(30, 12), 15);
  all.rules.temperature = GetParam();
  all.rules.repetition_penalty = 1.2;
  all.rules.top_p = 0.95;
  all.end_of_text = 7;
  const std::vector<WrittenText> whole = desk.write(all, 30);
  for (std::int64_t sequences : {1, 3, 8, 64}) {
    const std::vector<WrittenText> made = desk.write(all, sequences);
    for (std::size_t i = 0; i < whole.size(); ++i) desk.expect_same(made[i], whole[i]);
  }
  BatchRequest reversed = all;
  std::reverse(reversed.prompts.begin(), reversed.prompts.end());
  const std::vector<WrittenText> back = desk.write(reversed, 7);
  for (std::size_t i = 0; i < whole.size(); ++i) desk.expect_same(back[whole.size() - 1 - i], whole[i]);
  BatchRequest one = all;
  for (std::size_t i = 0; i < whole.size(); i += 6) {
    one.prompts = {all.prompts[i]};
    desk.expect_same(desk.write(one, 1)[0], whole[i]);
  }
}

TEST_P(Temperature, LogProbabilitiesAreThoseOfTheFullDistributionInAParallelPass) {
  Desk desk;
  BatchRequest r = request(mixed_prompts(9, 12), 20);
  r.rules.temperature = GetParam();
  r.rules.top_k = 5;  // changes what is drawn and not what is reported
  r.rules.presence_penalty = 0.5;
  const std::vector<WrittenText> made = desk.write(r, 4);
  for (std::size_t i = 0; i < made.size(); ++i) {
    Tokens all = r.prompts[i].tokens;
    const std::size_t prompt = all.size();
    all.insert(all.end(), made[i].tokens.begin(), made[i].tokens.end());
    ASSERT_EQ(made[i].tokens.size(), 20u);
    const std::vector<double> at_temperature = desk.parallel(all, GetParam() > 0 ? GetParam() : 1);
    const std::vector<double> plain = desk.parallel(all, 1);
    for (std::size_t t = 0; t < 20; ++t) {
      EXPECT_NEAR(made[i].logp[t], at_temperature[prompt - 1 + t], 1e-5) << i << " " << t;
      EXPECT_NEAR(made[i].model_logp[t], plain[prompt - 1 + t], 1e-5) << i << " " << t;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(BatchGenerator, Temperature, testing::Values(0.0, 0.7, 1.0));

TEST(BatchGenerator, WritesWhatTheGeneratorWrites) {
  Desk desk(16);
  Generator generator(desk.rig.model, desk.rig.head, desk.rig.ops, desk.rig.device);
  // Beyond the context too, where the window slides, and from a prompt longer than the context.
  for (std::int64_t length : {1, 5, 16, 40}) {
    BatchRequest r = request({random_tokens(3, length, V), random_tokens(4, 2, V)}, 50);
    GenerationRequest alone;
    alone.prompt = r.prompts[0].tokens;
    alone.max_tokens = 50;
    alone.seed = r.seed;
    Tokens tokens;
    std::vector<double> logp;
    generator.generate(desk.rig.w, alone, [&](std::int32_t id, double p) {
      tokens.push_back(id);
      logp.push_back(p);
      return true;
    });
    const WrittenText made = desk.write(r, 2)[0];
    EXPECT_EQ(made.tokens, tokens) << length;
    for (std::size_t i = 0; i < 50; ++i) EXPECT_NEAR(made.logp[i], logp[i], 1e-5) << length << " " << i;
  }
}

TEST(BatchGenerator, FullContextsSlideEachOnItsOwn) {
  for (std::int64_t context : {1, 2, 16}) {
    Desk desk(context);
    const BatchRequest all = request(mixed_prompts(10, 12), 40);
    const std::vector<WrittenText> whole = desk.write(all, 10), some = desk.write(all, 3);
    for (std::size_t i = 0; i < whole.size(); ++i) {
      EXPECT_EQ(whole[i].tokens.size(), 40u);
      desk.expect_same(some[i], whole[i]);
    }
  }
}

TEST(BatchGenerator, ATextEndsAtItsFirstEndOfTextAndCostsNoStepAfterIt) {
  Desk desk;
  BatchRequest r = request(std::vector<Tokens>(12, Tokens{2, 3}), 25);
  const std::vector<WrittenText> free_run = desk.write(r, 12);
  r.end_of_text = free_run[0].tokens[4];
  BatchGenerator generator(desk.rig.model, desk.rig.head, desk.rig.ops, desk.rig.device, 5);
  std::int64_t told = 0, largest_step = 0;
  const std::vector<WrittenText> made = generator.generate(desk.rig.w, r, [&](std::int64_t tokens) {
    largest_step = std::max(largest_step, tokens - told);
    told = tokens;
    return true;
  });
  std::int64_t tokens = 0, ended = 0;
  for (std::size_t i = 0; i < made.size(); ++i) {
    const auto end = std::find(free_run[i].tokens.begin(), free_run[i].tokens.end(), r.end_of_text);
    const std::ptrdiff_t length = std::min<std::ptrdiff_t>(25, end - free_run[i].tokens.begin() + 1);
    EXPECT_EQ(made[i].tokens, Tokens(free_run[i].tokens.begin(), free_run[i].tokens.begin() + length)) << i;
    EXPECT_EQ(made[i].reason, end != free_run[i].tokens.end() ? StopReason::end_of_text : StopReason::length) << i;
    EXPECT_EQ(made[i].logp.size(), made[i].tokens.size());
    tokens += length;
    ended += made[i].reason == StopReason::end_of_text;
  }
  EXPECT_GE(ended, 1);
  EXPECT_EQ(told, tokens);
  EXPECT_EQ(largest_step, 5);
}

TEST(BatchGenerator, TextsOfOnePromptDifferByTheirSequenceAlone) {
  Desk desk;
  BatchRequest r = request(std::vector<Tokens>(6, random_tokens(9, 8, V)), 20);
  r.prompts[5].sequence = 0;
  const std::vector<WrittenText> made = desk.write(r, 6);
  desk.expect_same(made[5], made[0]);
  for (std::size_t i = 1; i < 5; ++i) EXPECT_NE(made[i].tokens, made[0].tokens) << i;
  r.seed = 6;
  EXPECT_NE(desk.write(r, 6)[0].tokens, made[0].tokens);
}

TEST(BatchGenerator, DrawsNoTokenThatTheTokenizerDoesNotHave) {
  Desk desk;
  BatchRequest r = request(mixed_prompts(8, 6), 30);
  r.rules.temperature = 3;
  r.vocabulary = 5;
  for (const WrittenText& text : desk.write(r, 8))
    for (std::int32_t id : text.tokens) ASSERT_LT(id, 5);
}

TEST(BatchGenerator, StopsWhenAskedAndKeepsWhatIsWritten) {
  Desk desk;
  const BatchRequest r = request(mixed_prompts(6, 6), 20);
  const std::vector<WrittenText> whole = desk.write(r, 4);
  BatchGenerator generator(desk.rig.model, desk.rig.head, desk.rig.ops, desk.rig.device, 4);
  const std::vector<WrittenText> made =
      generator.generate(desk.rig.w, r, [](std::int64_t tokens) { return tokens < 12; });
  for (std::size_t i = 0; i < made.size(); ++i) {
    EXPECT_EQ(made[i].reason, StopReason::asked);
    EXPECT_EQ(made[i].tokens, Tokens(whole[i].tokens.begin(), whole[i].tokens.begin() + (i < 4 ? 3 : 0)));
  }
  // And can be used again.
  const std::vector<WrittenText> again = generator.generate(desk.rig.w, r);
  for (std::size_t i = 0; i < again.size(); ++i) desk.expect_same(again[i], whole[i]);
}

TEST(BatchGenerator, TakesNoPromptsAndNoTokens) {
  Desk desk;
  EXPECT_TRUE(desk.write(request({}, 5), 3).empty());
  const std::vector<WrittenText> made = desk.write(request({{1}, {2}}, 0), 3);
  ASSERT_EQ(made.size(), 2u);
  EXPECT_TRUE(made[0].tokens.empty());
}

TEST(BatchGenerator, RefusesPromptsAndRulesThatTheGeneratorRefuses) {
  Desk desk;
  EXPECT_THROW(desk.write(request({{1}, {}}, 5), 2), Error);
  EXPECT_THROW(desk.write(request({{1}, {19}}, 5), 2), Error);
  BatchRequest r = request({{1}}, 5);
  r.rules.top_p = 2;
  EXPECT_THROW(desk.write(r, 2), Error);
}

TEST(BatchGenerator, PlansACacheForEachSequence) {
  ModelConfig model;
  std::int64_t cache = 0;
  for (const ArenaPlan& plan : BatchGenerator::plans(model, {}, 8)) {
    if (plan.name() == "KV cache") cache = plan.bytes();
    EXPECT_GT(plan.bytes(), 0) << plan.name();
  }
  EXPECT_EQ(cache, std::int64_t{8} * 2 * 12 * 1024 * 768 * 4);
}

}  // namespace
}  // namespace nll::test
