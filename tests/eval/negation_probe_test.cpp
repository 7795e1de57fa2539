#include "src/eval/negation_probe.h"

#include <gtest/gtest.h>

#include "kernels/check.h"
#include "tests/model/rig.h"

namespace nll::test {
namespace {

const Tokenizer& bytes_only() {
  static const std::vector<std::string_view> texts = {"ab"};
  static const Tokenizer tokenizer = Tokenizer::train(texts, 257, 1);
  return tokenizer;
}

std::string fault(const std::string& line) {
  try {
    parse_negation(line, bytes_only(), "probe.jsonl:3");
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::bad_data);
    return error.what();
  }
  return "none";
}

std::string text_of(const std::vector<std::int32_t>& tokens) { return bytes_only().decode(tokens); }

TEST(NegationProbe, ARecordIsTwoQuestionsWithTheSameEndings) {
  const NegationPair pair =
      parse_negation(R"({"affirm": "Snow is ", "negate": "Snow is not", "true": "white", "false": " black", "id": 7})",
                     bytes_only(), "p:1");
  EXPECT_EQ(text_of(pair.affirm.context), "Snow is");
  EXPECT_EQ(text_of(pair.negate.context), "Snow is not");
  ASSERT_EQ(pair.affirm.endings.size(), 2u);
  ASSERT_EQ(pair.negate.endings.size(), 2u);
  EXPECT_EQ(text_of(pair.negate.endings[0].tokens), " white");
  EXPECT_EQ(text_of(pair.negate.endings[1].tokens), " black");
  EXPECT_EQ(pair.affirm.label, 0u);
  EXPECT_EQ(pair.negate.label, 1u);
}

TEST(NegationProbe, BadRecordsNameLineAndField) {
  EXPECT_EQ(fault(R"({"affirm": "a", "negate": "b", "true": "c"})"), "probe.jsonl:3: \"false\" is missing");
  EXPECT_EQ(fault(R"({"affirm": 1, "negate": "b", "true": "c", "false": "d"})"),
            "probe.jsonl:3: \"affirm\" is a number (expected a string)");
  EXPECT_EQ(fault(R"({"affirm": "a", "negate": " ", "true": "c", "false": "d"})"),
            "probe.jsonl:3: \"negate\" is empty (expected some text)");
  EXPECT_EQ(fault(R"({"affirm": "a", "negate": "a", "true": "c", "false": "d"})"),
            "probe.jsonl:3: \"negate\" equals \"affirm\" (expected its negation)");
  EXPECT_EQ(fault(R"({"affirm": "a", "negate": "b", "true": "c", "false": " c"})"),
            "probe.jsonl:3: \"false\" equals \"true\" (expected another ending)");
  EXPECT_EQ(fault(R"(["affirm"])"), "probe.jsonl:3: is an array (expected an object)");
}

TEST(NegationProbe, RatesCountSignsAndTiesAreNeverRight) {
  NegationResult result;
  result.preferences = {{1, -1}, {1, 1}, {-1, -1}, {-2, 3}, {0, -1}, {1, 0}};
  EXPECT_EQ(result.affirm_right(), 3);
  EXPECT_EQ(result.negate_right(), 3);
  EXPECT_EQ(result.flips(), 2);
}

TEST(NegationProbe, PreferencesAreDifferencesOfEndingsScores) {
  ModelConfig config = tiny_model();
  config.context = 12;
  Rig rig(config);
  rig.randomize(81);
  MultipleChoice scorer(rig.model, rig.head, rig.ops, rig.device, rig.w, 3);
  const auto question = [](std::uint64_t seed, std::int64_t length) {
    return EncodedQuestion{"p:1", random_tokens(seed, length, 19), {{{3, 4}, 2, 1}, {{5}, 1, 1}}, 0};
  };
  const std::vector<NegationPair> pairs = {{question(1, 4), question(2, 5)}, {question(3, 11), question(4, 2)}};
  const NegationResult found = probe_negation(scorer, pairs, config.context);
  ASSERT_EQ(found.preferences.size(), 2u);
  EXPECT_EQ(found.cut, 0);
  const auto preference = [&](const EncodedQuestion& of) {
    const std::vector<MultipleChoice::Pair> asked = {{of.context, of.endings[0].tokens},
                                                     {of.context, of.endings[1].tokens}};
    const std::vector<double> logp = scorer.score(asked);
    return logp[0] - logp[1];
  };
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    // Another batch, the same sums up to FP32's rounding.
    EXPECT_NEAR(found.preferences[i].affirm, preference(pairs[i].affirm), 1e-4) << i;
    EXPECT_NEAR(found.preferences[i].negate, preference(pairs[i].negate), 1e-4) << i;
  }
}

}  // namespace
}  // namespace nll::test
