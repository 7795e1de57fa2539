#include "src/eval/token_class.h"

#include <gtest/gtest.h>

#include <map>

#include "src/eval/score.h"

namespace nll {
namespace {

TEST(TokenClass, IsReadFromTheBytes) {
  const std::vector<std::pair<std::string, TokenClass>> expected = {
      {" the", TokenClass::word_start},
      {"\nThe", TokenClass::word_start},
      {" \xC3\xA9t\xC3\xA9", TokenClass::word_start},
      {"ing", TokenClass::word_continuation},
      {"'s", TokenClass::word_continuation},
      {"\xD0\xB4\xD0\xB0", TokenClass::word_continuation},
      {"e\xCC\x81", TokenClass::word_continuation},  // e and a combining accent
      {" 1611", TokenClass::digits},
      {"\xC2\xBD", TokenClass::digits},  // one half
      {".", TokenClass::punctuation},
      {" --", TokenClass::punctuation},
      {"\xF0\x9F\x98\x80", TokenClass::punctuation},  // a symbol
      {"'", TokenClass::punctuation},
      {"\n\n", TokenClass::whitespace},
      {" ", TokenClass::whitespace},
      {"\xC2\xA0", TokenClass::whitespace},
      {"x86", TokenClass::other},
      {"end.", TokenClass::other},
      {"the ", TokenClass::other},
      {"\xC3", TokenClass::other},
      {" \xF0\x9F", TokenClass::other},
      {"a\n", TokenClass::other},
      {"", TokenClass::other},
  };
  for (const auto& [bytes, of] : expected) EXPECT_EQ(token_class(bytes), of) << '"' << bytes << '"';
}

TEST(FunctionWords, AreTheClosedClassesAndTheirContractions) {
  for (const char* word : {"the", "and", "of", "not", "unto", "thou", "yourselves", "could", "between", "don't",
                           "isn't", "can't", "won't", "he'll", "that's", "i'm", "they've", "a"})
    EXPECT_TRUE(is_function_word(word)) << word;
  for (const char* word : {"", "light", "god", "cat's", "'s", "the's'", "dog", "thex", "heaven", "n't", "catn't"})
    EXPECT_FALSE(is_function_word(word)) << word;
}

// Ids as a tokenizer has them that learned nothing but these.
TokenClasses classes_of(const std::vector<std::string>& tokens, std::size_t special) {
  TokenClasses classes;
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    const TokenClass of = id == special ? TokenClass::special : token_class(tokens[id]);
    const bool part = of == TokenClass::word_start || of == TokenClass::word_continuation || tokens[id] == "\xC3";
    const bool begins = tokens[id].starts_with(' ');
    classes.letters.push_back(part ? tokens[id].substr(begins ? 1 : 0) : "");
    classes.ids.push_back({of, part, begins, is_function_word(classes.letters.back())});
  }
  return classes;
}

std::map<std::string, ClassLoss> losses(const ClassScore& score) {
  std::map<std::string, ClassLoss> found;
  for (const ClassLoss& of : score.losses()) found[of.name] = of;
  return found;
}

TEST(ClassScore, FindsWordsAcrossTokens) {
  //                                        0       1     2       3     4        5       6       7     8
  const TokenClasses classes = classes_of({" the", "re", " don", "'t", " light", "\xC3", "there", ".", "END"}, 8);
  const auto score = [&](const std::vector<std::int32_t>& ids) {
    ClassScore scored(classes);
    double nll = 1;
    for (std::int32_t id : ids) {
      scored.add(id, nll);
      nll *= 2;
    }
    return losses(scored);
  };
  auto found = score({0, 7, 4});  // the . light
  EXPECT_EQ(found["function_words"].nll, 1);
  EXPECT_EQ(found["content_words"].nll, 4);
  found = score({2, 3, 0, 1});  // don't there
  EXPECT_EQ(found["function_words"].words, 2);
  EXPECT_EQ(found["function_words"].tokens, 4);
  EXPECT_EQ(found["function_words"].nll, 15);
  EXPECT_EQ(found["content_words"].words, 0);
  found = score({0, 8, 1});  // the END re
  EXPECT_EQ(found["function_words"].nll, 1);
  EXPECT_EQ(found["content_words"].nll, 4);
  EXPECT_EQ(found["special"].nll, 2);
  found = score({0, 5, 1});  // the + a piece of a letter + re: one content word of two tokens and one other
  EXPECT_EQ(found["content_words"].words, 1);
  EXPECT_EQ(found["content_words"].nll, 5);
  EXPECT_EQ(found["other"].nll, 2);
  found = score({5, 7, 6});  // a piece alone is no word
  EXPECT_EQ(found["content_words"].words, 0);
  EXPECT_EQ(found["function_words"].nll, 4);
}

TEST(ClassScore, WordsLongerThanAnyFunctionWordAreContentWords) {
  const TokenClasses classes = classes_of({" the", "there"}, 9);
  ClassScore score(classes);
  score.add(0, 1);
  for (int i = 0; i < 9; ++i) score.add(1, 1);
  EXPECT_EQ(losses(score)["content_words"].words, 1);
  EXPECT_EQ(losses(score)["content_words"].tokens, 10);
}

TEST(ClassScore, PartsAddUpToTheWholeWhereverTheyAreCut) {
  //                                        0       1     2       3     4         5       6       7     8
  const TokenClasses classes = classes_of({" the", "re", " don", "'t", " light", "\xC3", "there", ".", "END"}, 8);
  const std::vector<std::int32_t> ids = {3, 0, 1, 2, 3, 7, 4, 5, 1, 8, 6, 1, 1, 1, 1, 1, 1, 1, 1, 0, 2, 3};
  const auto score = [&](std::size_t begin, std::size_t end) {
    ClassScore scored(classes, begin > 0);
    for (std::size_t i = begin; i < end; ++i) scored.add(ids[i], 0.25 * static_cast<double>(i + 1));  // exact sums
    return scored;
  };
  const auto expected = score(0, ids.size()).losses();
  const auto same = [&](const ClassScore& found, std::size_t a, std::size_t b) {
    const std::vector<ClassLoss> losses = found.losses();
    for (std::size_t c = 0; c < expected.size(); ++c) {
      EXPECT_EQ(losses[c].tokens, expected[c].tokens) << expected[c].name << " " << a << " " << b;
      EXPECT_EQ(losses[c].words, expected[c].words) << expected[c].name << " " << a << " " << b;
      EXPECT_EQ(losses[c].nll, expected[c].nll) << expected[c].name << " " << a << " " << b;
    }
  };
  for (std::size_t a = 1; a <= ids.size(); ++a) {
    for (std::size_t b = a; b <= ids.size(); ++b) {
      ClassScore from_the_left(classes);
      from_the_left.add(score(0, a).state());
      from_the_left.add(score(a, b).state());
      from_the_left.add(score(b, ids.size()).state());
      same(from_the_left, a, b);
      ClassScore right_first = score(a, b);
      right_first.add(score(b, ids.size()).state());
      ClassScore left = score(0, a);
      left.add(right_first.state());
      same(left, a, b);
    }
  }
}

TEST(ClassScore, ClassesPartTheTokensAndTheirLoss) {
  const std::string text =
      "In the beginning God created the heaven and the earth.\n2 And it wasn't na\xC3\xAFve caf\xC3\xA9 "
      "\xF0\x9F\x98\x80 "
      "x86\n\n";
  const std::vector<std::string_view> texts = {text, text};
  const Tokenizer tokenizer = Tokenizer::train(texts, 280, 1);
  const TokenLengths lengths = token_lengths(tokenizer);
  std::vector<std::int32_t> ids = tokenizer.encode(text);
  ids.push_back(tokenizer.end_of_text());
  ids.push_back(static_cast<std::int32_t>(tokenizer.vocabulary()));  // an id that the tokenizer does not know
  Score score(lengths);
  double nll = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const double loss = 0.25 + static_cast<double>(i % 7);  // sums of quarters are exact
    nll += loss;
    score.add({ids[i], -loss, 1, 1, 0.5, 2});
  }
  const Evaluation e = score.evaluation();
  ASSERT_EQ(e.classes.size(), 2 + token_class_count);
  std::int64_t tokens = 0, word_tokens = 0;
  double class_nll = 0, word_nll = 0;
  for (std::size_t c = 0; c < e.classes.size(); ++c) {
    (c < 2 ? word_tokens : tokens) += e.classes[c].tokens;
    (c < 2 ? word_nll : class_nll) += e.classes[c].nll;
  }
  EXPECT_EQ(tokens, static_cast<std::int64_t>(ids.size()));
  EXPECT_EQ(class_nll, nll);
  EXPECT_NEAR(e.loss * static_cast<double>(tokens), nll, 1e-12 * nll);
  EXPECT_EQ(word_tokens, e.classes[2].tokens + e.classes[3].tokens);
  EXPECT_EQ(word_nll, e.classes[2].nll + e.classes[3].nll);
  EXPECT_EQ(e.classes[7].name, "special");
  EXPECT_EQ(e.classes[7].tokens, 2);
  EXPECT_EQ(e.classes[0].words, 8);  // in the the and the and it wasn't
  EXPECT_EQ(e.classes[1].words, 8);  // beginning god created heaven earth naive cafe (with their accents) x
}

TEST(ClassScore, WithoutATokenizerThereAreNoClasses) {
  const TokenLengths lengths{{1, 1}, {0, 0}, {1, 1}};
  Score score(lengths);
  score.add({1, -2, 1, 1, 0.5, 1});
  EXPECT_TRUE(score.evaluation().classes.empty());
  EXPECT_TRUE(class_fields(score.evaluation()).empty());
}

TEST(ClassScore, FieldsAreNamedAsReportsReadThem) {
  Evaluation e;
  e.classes = {{"function_words", 4, 2, 6}, {"special", 0, 0, 0}};
  EXPECT_EQ(class_fields(e), (std::vector<std::pair<std::string, double>>{{"loss_function_words", 1.5}}));
}

}  // namespace
}  // namespace nll
