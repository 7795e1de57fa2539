#include "src/eval/multiple_choice.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/model/reference.h"
#include "tests/model/rig.h"

namespace nll::test {
namespace {

using Tokens = std::vector<std::int32_t>;

constexpr std::int64_t V = 19, context = 6;

TEST(ChooseEnding, EveryNormalisationMayPreferAnotherEnding) {
  // " cat", " walked", " éééééea" with six accented letters and one plain, " sat quietly"
  const std::vector<EndingScore> endings = {
      {-9, -13, 2, 4, 3}, {-10, -10.5, 4, 7, 6}, {-14, -15, 4, 14, 7}, {-16, -17, 5, 12, 11}};
  EXPECT_EQ(choose_ending(endings, ChoiceNorm::sum), 0u);
  EXPECT_EQ(choose_ending(endings, ChoiceNorm::token), 1u);
  EXPECT_EQ(choose_ending(endings, ChoiceNorm::byte), 2u);
  EXPECT_EQ(choose_ending(endings, ChoiceNorm::character), 3u);
  EXPECT_EQ(choose_ending(endings, ChoiceNorm::pmi), 0u);
}

TEST(ChooseEnding, TakesTheFirstOfEquals) {
  const std::vector<EndingScore> endings = {{-8, -9, 4, 4, 4}, {-4, -5, 2, 2, 2}, {-4, -5, 2, 2, 2}};
  EXPECT_EQ(choose_ending(endings, ChoiceNorm::sum), 1u);
  for (ChoiceNorm norm : {ChoiceNorm::token, ChoiceNorm::byte, ChoiceNorm::character, ChoiceNorm::pmi})
    EXPECT_EQ(choose_ending(endings, norm), 0u) << choice_norm_name(norm);
}

struct Bench {
  explicit Bench(std::int64_t sequences)
      : rig(config()), scorer(rig.model, rig.head, rig.ops, rig.device, rig.w, sequences) {
    rig.randomize(71);
  }
  static ModelConfig config() {
    ModelConfig model = tiny_model();
    model.context = context;
    return model;
  }
  // In double, from the last tokens that fit.
  double reference(const Tokens& before, const Tokens& ending) const {
    Tokens text = before;
    text.insert(text.end(), ending.begin(), ending.end());
    if (text.size() > context + 1) text.erase(text.begin(), text.end() - (context + 1));
    const std::vector<float> stored = rig.download(rig.weights);
    const Reference model{rig.model, rig.table};
    const std::vector<ReferenceToken> scored =
        model.score(std::vector<double>(stored.begin(), stored.end()), Tokens(text.begin(), text.end() - 1),
                    Tokens(text.begin() + 1, text.end()), 1);
    double sum = 0;
    for (std::size_t i = scored.size() - ending.size(); i < scored.size(); ++i) sum += scored[i].logp;
    return sum;
  }
  Rig rig;
  MultipleChoice scorer;
};

// 8 L + 6 ops with sums of at most 4 C terms on logits of a few units, for each of at most `context` tokens.
constexpr double tolerance = context * (8 * 2 + 6) * 4 * 8 * 0x1p-24 * 4;

EncodedQuestion question(std::uint64_t seed, std::int64_t before, std::vector<std::int64_t> lengths) {
  EncodedQuestion made{"q.jsonl:" + std::to_string(seed), random_tokens(seed, before, V), {}, 0};
  for (std::int64_t length : lengths)
    made.endings.push_back({random_tokens(++seed + 100, length, V), 2 * length, length});
  return made;
}

TEST(MultipleChoice, ScoresEndingsOfAnyLengthInBatchesAndCutsContextsOnTheLeft) {
  const std::vector<EncodedQuestion> questions = {question(1, 3, {1, 3, 2}), question(2, 9, {2, 6}),
                                                  question(3, 1, {6, 5, 1}), question(4, 6, {1, 2})};
  const Tokens answer = {4, 7};
  std::vector<std::array<std::size_t, 5>> expected;
  Bench one(1), three(3);
  std::vector<MultipleChoice::Pair> pairs;
  std::vector<double> sums;
  for (const EncodedQuestion& q : questions) {
    std::vector<EndingScore> scores;
    for (const EncodedEnding& e : q.endings) {
      pairs.push_back({q.context, e.tokens});
      sums.push_back(one.reference(q.context, e.tokens));
      scores.push_back({sums.back(), one.reference(answer, e.tokens), static_cast<std::int64_t>(e.tokens.size()),
                        e.bytes, e.characters});
    }
    auto& chosen = expected.emplace_back();
    for (std::size_t n = 0; n < choice_norms.size(); ++n) chosen[n] = choose_ending(scores, choice_norms[n]);
  }
  for (Bench* bench : {&one, &three}) {
    const std::vector<double> found = bench->scorer.score(pairs);
    for (std::size_t i = 0; i < sums.size(); ++i) EXPECT_NEAR(found[i], sums[i], tolerance) << i;
    std::int64_t done = 0;
    const ChoiceResult result =
        bench->scorer.evaluate(questions, answer, [&](std::int64_t now, std::int64_t) { done = now; });
    EXPECT_EQ(result.chosen, expected);
    EXPECT_EQ(result.questions, 4);
    EXPECT_EQ(result.cut, 3);  // 9 + 2, 9 + 6 and 6 + 2 tokens; a pass over 6 predicts the seventh
    EXPECT_EQ(done, 20);
    for (std::size_t n = 0; n < choice_norms.size(); ++n) {
      std::int64_t right = 0;
      for (const auto& chosen : expected) right += chosen[n] == 0;
      EXPECT_EQ(result.correct[n], right);
    }
  }
}

TEST(MultipleChoice, LeavesOutWhatIsNotKnown) {
  EncodedQuestion unknown = question(5, 2, {2, 3});
  for (EncodedEnding& ending : unknown.endings) ending.bytes = ending.characters = 0;
  Bench bench(2);
  const ChoiceResult result = bench.scorer.evaluate(std::vector<EncodedQuestion>{unknown}, {});
  EXPECT_TRUE(result.has(ChoiceNorm::sum));
  EXPECT_TRUE(result.has(ChoiceNorm::token));
  EXPECT_FALSE(result.has(ChoiceNorm::byte));
  EXPECT_FALSE(result.has(ChoiceNorm::character));
  EXPECT_FALSE(result.has(ChoiceNorm::pmi));
}

TEST(MultipleChoice, RefusesAnEndingThatIsLongerThanTheContext) {
  Bench bench(2);
  try {
    bench.scorer.evaluate(std::vector<EncodedQuestion>{question(7, 2, {2, 7})}, {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::bad_data);
    EXPECT_STREQ(error.what(), "q.jsonl:7: ending 1 has 7 tokens (expected at most the model's context of 6)");
  }
}

}  // namespace
}  // namespace nll::test
