#include "src/eval/score.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <map>

namespace nll {
namespace {

// Ids 0 to 5 are the parts of "naïve café 😀\n" (18 bytes, 13 code points), cut inside of characters; 6 is special.
TokenLengths lengths() {
  TokenLengths l;
  l.bytes = {3, 3, 5, 2, 2, 3, 0};
  l.characters = {3, 2, 5, 1, 0, 2, 0};
  l.special = {0, 0, 0, 0, 0, 0, 1};
  return l;
}

ScoredToken token(std::int32_t target, double nll, std::int32_t rank = 1) {
  return {target, -nll, std::log(2.0), 0.5, 0.25, rank};
}

Score text_score(const TokenLengths& l) {
  Score score(l);
  const std::vector<double> nll = {2.25, 1.5, 3.0, 0.75, 4.5, 1.0};
  for (std::size_t i = 0; i < nll.size(); ++i) score.add(token(static_cast<std::int32_t>(i), nll[i]));
  return score;
}

TEST(Score, PerplexityAndBitsAreTheExactOnes) {
  const TokenLengths l = lengths();
  const Evaluation e = text_score(l).evaluation();
  EXPECT_EQ(e.tokens, 6);
  EXPECT_EQ(e.bytes, 18);
  EXPECT_EQ(e.characters, 13);
  EXPECT_DOUBLE_EQ(e.loss, 2.1666666666666665);
  EXPECT_DOUBLE_EQ(e.perplexity, 8.72913836372013);
  EXPECT_DOUBLE_EQ(e.bits_per_byte, 1.041946418419807);
  EXPECT_DOUBLE_EQ(e.bits_per_character, 1.4426950408889636);
  EXPECT_DOUBLE_EQ(e.bits_per_token, 3.125839255259421);
  EXPECT_DOUBLE_EQ(e.bits_per_byte_total, e.bits_per_byte);
}

TEST(Score, LeavesSpecialTargetsOutOfBitsAndKeepsThemInLoss) {
  const TokenLengths l = lengths();
  Score score = text_score(l);
  score.add(token(6, 8));
  score.add(token(7, 2));  // an id that the tokenizer does not know
  const Evaluation e = score.evaluation();
  EXPECT_EQ(e.tokens, 8);
  EXPECT_EQ(e.bytes, 18);
  EXPECT_DOUBLE_EQ(e.loss, 23.0 / 8);
  EXPECT_DOUBLE_EQ(e.bits_per_byte, 13 / (std::log(2.0) * 18));
  EXPECT_DOUBLE_EQ(e.bits_per_byte_total, 23 / (std::log(2.0) * 18));
  EXPECT_DOUBLE_EQ(e.bits_per_token, 13 / (std::log(2.0) * 6));
}

// A model of single bytes says p(token) = product of p(byte): the same model of the text, however it is cut.
TEST(Score, BitsPerByteOfAByteModelAreTheSameForEveryTokenizer) {
  std::string text;
  for (int i = 0; i < 40; ++i) text += i % 3 == 0 ? "the naïve cat " : "and the café 😀\n";
  std::array<double, 256> count{};
  for (char byte : text) ++count[static_cast<unsigned char>(byte)];
  std::vector<Evaluation> found;
  for (std::int64_t vocabulary : {257, 270, 300}) {
    const Tokenizer tokenizer = Tokenizer::train(std::vector<std::string_view>{text}, vocabulary, 1);
    const TokenLengths l = token_lengths(tokenizer);
    Score score(l);
    for (std::int32_t id : tokenizer.encode(text)) {
      double nll = 0;
      for (char byte : tokenizer.token_bytes(id))
        nll -= std::log(count[static_cast<unsigned char>(byte)] / static_cast<double>(text.size()));
      score.add(token(id, nll));
    }
    score.add(token(tokenizer.end_of_text(), 3));
    found.push_back(score.evaluation());
  }
  for (const Evaluation& e : found) {
    EXPECT_EQ(e.bytes, static_cast<std::int64_t>(text.size()));
    EXPECT_NEAR(e.bits_per_byte, found[0].bits_per_byte, 1e-12 * found[0].bits_per_byte);
    EXPECT_NEAR(e.bits_per_character, found[0].bits_per_character, 1e-12 * found[0].bits_per_character);
    EXPECT_NEAR(e.bits_per_byte_total, found[0].bits_per_byte_total, 1e-12 * found[0].bits_per_byte_total);
  }
  // What must not be compared does differ.
  EXPECT_LT(2 * found[2].tokens, found[0].tokens);
  EXPECT_GT(found[2].perplexity, 10 * found[0].perplexity);
}

TEST(Score, AccuracyTopFiveEntropyAndBrierAreMeans) {
  const TokenLengths l = lengths();
  Score score(l);
  for (std::int32_t rank : {1, 2, 5, 6, 1, 700, 3, 1}) score.add(token(0, std::log(4.0), rank));
  const Evaluation e = score.evaluation();
  EXPECT_DOUBLE_EQ(e.accuracy, 3.0 / 8);
  EXPECT_DOUBLE_EQ(e.top5, 6.0 / 8);
  EXPECT_DOUBLE_EQ(e.entropy, 0.5);
  EXPECT_DOUBLE_EQ(e.brier, 0.25 - 2 * 0.25 + 1);
  EXPECT_DOUBLE_EQ(e.ece, 0.125);  // confidence 1/2 each, right 3 times of 8
  EXPECT_EQ(e.calibration[7].count, 8);
  EXPECT_EQ(e.calibration[7].correct, 3);
}

TEST(Score, KeepsItsPrecisionOverManyTokens) {
  const TokenLengths l = lengths();
  Score score(l);
  for (int i = 0; i < 3000000; ++i) score.add(token(0, 0.1));
  // FP32 sums would be off by about 1e-2 here.
  EXPECT_NEAR(score.evaluation().loss, 0.1, 3e6 * 0x1p-53);
}

TEST(Score, OfACertainModelHasConfidenceOneInTheLastBin) {
  const TokenLengths l = lengths();
  Score score(l);
  score.add({0, 0, 0, 0, 1, 1});
  const Evaluation e = score.evaluation();
  EXPECT_EQ(e.calibration[14].count, 1);
  EXPECT_EQ(e.ece, 0);
  EXPECT_EQ(e.brier, 0);
  EXPECT_EQ(e.perplexity, 1);
}

TEST(Fields, HaveTheNamesThatScriptsRelyOn) {
  const TokenLengths l = lengths();
  const Evaluation e = text_score(l).evaluation();
  std::map<std::string, double> named;
  for (const auto& [name, value] : fields(e)) EXPECT_TRUE(named.emplace(name, value).second) << name;
  EXPECT_EQ(named.at("loss"), e.loss);
  EXPECT_EQ(named.at("perplexity"), e.perplexity);
  EXPECT_EQ(named.at("bits_per_byte"), e.bits_per_byte);
  EXPECT_EQ(named.at("bits_per_character"), e.bits_per_character);
  EXPECT_EQ(named.at("accuracy"), e.accuracy);
  EXPECT_EQ(named.at("entropy"), e.entropy);
  EXPECT_EQ(named.at("ece"), e.ece);
  EXPECT_EQ(named.at("tokens"), 6);
}

TEST(Fields, LeaveOutWhatTextWithoutBytesDoesNotDefine) {
  const TokenLengths none;
  Score score(none);
  score.add(token(3, 1.5));
  const Evaluation e = score.evaluation();
  EXPECT_EQ(e.bits_per_byte, 0);
  for (const auto& [name, value] : fields(e)) {
    EXPECT_EQ(name.find("bits_per"), std::string::npos) << name;
    EXPECT_TRUE(std::isfinite(value)) << name;
  }
}

}  // namespace
}  // namespace nll
