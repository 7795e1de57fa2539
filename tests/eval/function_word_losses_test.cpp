#include "src/eval/function_word_losses.h"

#include <gtest/gtest.h>

namespace nll {
namespace {

// Ids: 0 " not", 1 " th", 2 "e", 3 " cat", 4 ".", 5 " The"
TokenClasses classes() {
  const IdClass word{TokenClass::word_start, true, true, false},
      piece{TokenClass::word_continuation, true, false, false};
  return {{word, word, piece, word, {TokenClass::punctuation, false, false, false}, word},
          {"not", "th", "e", "cat", "", "the"}};
}

TEST(FunctionWordLosses, WordsOfSeveralTokensCountOnceWithAllTheirLoss) {
  const TokenClasses of = classes();
  FunctionWordLosses losses(of);
  for (const std::int32_t id : {1, 2, 3, 0, 4, 5, 3, 2, 1, 2}) losses.add(id, 1.5);
  const std::vector<WordLoss> found = losses.losses();  // the cat not . The cate the
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].word, "the");
  EXPECT_EQ(found[0].words, 3);
  EXPECT_EQ(found[0].tokens, 5);
  EXPECT_EQ(found[0].per_word(), 2.5);
  EXPECT_EQ(found[0].per_token(), 1.5);
  EXPECT_EQ(found[1].word, "not");
  EXPECT_EQ(found[1].words, 1);
}

TEST(FunctionWordLosses, ADocumentsEndEndsAWord) {
  const TokenClasses of = classes();
  FunctionWordLosses losses(of);
  losses.add(1, 1);
  losses.end_document();
  losses.add(2, 1);
  EXPECT_TRUE(losses.losses().empty());
}

TEST(FunctionWordLosses, IdsBeyondTheTokenizerEndAWord) {
  const TokenClasses of = classes();
  FunctionWordLosses losses(of);
  for (const std::int32_t id : {0, 99, 2}) losses.add(id, 2);
  const std::vector<WordLoss> found = losses.losses();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].nll, 2);
}

}  // namespace
}  // namespace nll
