#include "src/rewards/rules.h"

#include <gtest/gtest.h>

#include "kernels/check.h"
#include "tests/rewards/requests.h"

namespace nll::test {
namespace {

TEST(ExactAnswer, BlanksAroundDoNotCountAndNumbersAreComparedAsNumbers) {
  EXPECT_TRUE(same_answer(" Paris\n", "Paris"));
  EXPECT_FALSE(same_answer("paris", "Paris"));
  EXPECT_TRUE(same_answer("4", "4.0"));
  EXPECT_TRUE(same_answer("+1,234,567", "1234567"));
  EXPECT_TRUE(same_answer("1e3", "1000"));
  EXPECT_FALSE(same_answer("12,34", "1234")) << "commas that part no thousands";
  EXPECT_FALSE(same_answer("nan", "NaN"));
  EXPECT_FALSE(same_answer("4 apples", "4"));
  EXPECT_FALSE(same_answer("", "0"));
  EXPECT_TRUE(same_answer("-0.5", "-.5"));
}

TEST(ExactAnswer, TheFirstGroupOfTheLastMatchIsTheAnswer) {
  const std::optional<Pattern> pattern(std::in_place, "answer is (-?[0-9]+)", "reward.answer_pattern");
  EXPECT_EQ(exact_answer_reward("the answer is 3. No, the answer is 7.", "7", pattern), 1);
  EXPECT_EQ(exact_answer_reward("the answer is 3. No, the answer is 7.", "3", pattern), 0);
  EXPECT_EQ(exact_answer_reward("7", "7", pattern), 0) << "no match";
  EXPECT_EQ(exact_answer_reward(" 7 ", "7", std::nullopt), 1);
}

TEST(Pattern, FindsEmptyMatchesAndPassesOverBytesThatAreNotUtf8) {
  EXPECT_EQ(Pattern("x*", "k").last("aéb"), "");
  EXPECT_EQ(Pattern("x*", "k").last("axxb"), "") << "at the end";
  EXPECT_EQ(Pattern("[a-z]+", "k").last("one two"), "two") << "without a group: the match";
  EXPECT_EQ(Pattern("(a)|b", "k").last("ab"), "") << "the last match has no such group";
  EXPECT_TRUE(Pattern("^é$", "k").matches("é"));
  EXPECT_TRUE(Pattern("ok", "k").matches("\xff\xfe ok"));
  EXPECT_FALSE(Pattern("ok", "k").matches(""));
}

TEST(Pattern, AMistakeIsAnErrorThatNamesTheKey) {
  try {
    Pattern("a(b", "reward.pattern");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::usage);
    EXPECT_EQ(std::string(error.what()), "reward.pattern: missing closing parenthesis at character 3 of \"a(b\"");
  }
}

TEST(Pattern, ASearchWithoutEndFindsNothing) {
  EXPECT_FALSE(Pattern("^(a+)+$", "k").matches(std::string(40, 'a') + "b"));
}

TEST(Length, FallsWithTheDistanceFromTheTarget) {
  EXPECT_EQ(length_reward(8, 8), 1);
  EXPECT_EQ(length_reward(6, 8), 0.75);
  EXPECT_EQ(length_reward(10, 8), 0.75);
  EXPECT_EQ(length_reward(0, 8), 0);
  EXPECT_EQ(length_reward(100, 8), 0);
}

TEST(Repetition, IsMinusTheShareOfFourWordsThatCameBefore) {
  EXPECT_EQ(repetition_reward("a b c"), 0);
  EXPECT_EQ(repetition_reward("a b c d e"), 0);
  // a b c d, b c d a, c d a b, d a b c, a b c d: one of five came before
  EXPECT_EQ(repetition_reward("a b c d\n a b c d"), -0.2);
  EXPECT_EQ(repetition_reward("a a a a a a a"), -0.75);
}

TEST(Overlap, IsTheF1OfTheLongestCommonSubsequenceOfWords) {
  EXPECT_EQ(overlap_reward("the cat sat", "The cat sat"), 1);
  // police killed the gunman / police kill the gunman: 3 of 4 and 4 (Lin 2004, section 3)
  EXPECT_EQ(overlap_reward("police kill the gunman", "police killed the gunman"), 0.75);
  EXPECT_EQ(overlap_reward("the gunman kill police", "police killed the gunman"), 0.5);
  EXPECT_DOUBLE_EQ(overlap_reward("a b", "a b c d"), 2.0 * 2 / 6);
  EXPECT_EQ(overlap_reward("", "a"), 0);
  EXPECT_EQ(overlap_reward("a", " "), 0);
}

TEST(RecordField, IsATextANumberOrABooleanElseTheRecordIsNamed) {
  EXPECT_EQ(record_field(request("", R"({"answer": "4"})"), "answer"), "4");
  EXPECT_EQ(record_field(request("", R"({"answer": 4.5})"), "answer"), "4.5");
  EXPECT_EQ(record_field(request("", R"({"answer": true})"), "answer"), "true");
  const auto message = [](const char* columns) {
    try {
      record_field(request("", columns), "answer");
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::bad_data);
      return std::string(error.what());
    }
    return std::string("none");
  };
  EXPECT_EQ(message(R"({"reply": "4"})"),
            "train.jsonl:3: \"answer\" is missing (expected a string, a number or a boolean)");
  EXPECT_EQ(message(R"({"answer": null})"),
            "train.jsonl:3: \"answer\" is null (expected a string, a number or a boolean)");
  EXPECT_EQ(message(R"({"answer": [4]})"),
            "train.jsonl:3: \"answer\" is a list or an object (expected a string, a number or a boolean)");
}

}  // namespace
}  // namespace nll::test
