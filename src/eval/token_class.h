// Loss by kind of token: classes of ids out of their bytes, and function and content words. docs/evaluation.md.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "src/text/tokenizer.h"

namespace nll {

// Every id is in one of these.
enum class TokenClass : std::uint8_t { word_start, word_continuation, digits, punctuation, whitespace, special, other };
constexpr std::size_t token_class_count = 7;

// Of a token that is not special. White space before the first other character does not count.
//   word_start         letters after white space          word_continuation  letters, or an apostrophe and letters
//   digits             numbers                            punctuation        anything else that is no white space
//   whitespace         white space alone                  other              a mixture, or a part of a character
TokenClass token_class(std::string_view bytes);

// Whether a word, in lower case with ASCII apostrophes, is one of the closed classes of English: determiners, pronouns,
// prepositions, conjunctions, auxiliaries and particles, and their contractions. The list: function_words.cpp.
bool is_function_word(std::string_view word);

// What an id is.
struct IdClass {
  TokenClass of = TokenClass::special;
  bool letters = false;   // it is a part of a word, or a piece of a character that may be a letter
  bool begins = false;    // white space comes first, so that a word ends before it
  bool function = false;  // it alone is a function word
};
// What a tokenizer's ids are; ids beyond them are special.
struct TokenClasses {
  std::vector<IdClass> ids;
  std::vector<std::string> letters;  // of ids with letters: in lower case, without white space
  bool empty() const { return ids.empty(); }
};
TokenClasses token_classes(const Tokenizer& tokenizer);

struct ClassLoss {
  std::string name;  // "word_starts"
  std::int64_t tokens = 0;
  std::int64_t words = 0;  // of function and content words; else 0
  double nll = 0;          // sum over its tokens
  double loss() const { return tokens == 0 ? 0 : nll / static_cast<double>(tokens); }
};

// Adds up target tokens in the order of the text. Words are the longest runs of tokens of the two word classes that no
// token with white space in front begins; a piece of a character inside of a run belongs to it, though its own loss
// counts as "other".
//
// A text may be scored in parts, each of which but the first `continues` the one before it; added up in their order
// they are the whole, and a word that was cut in two is one.
class ClassScore {
 public:
  explicit ClassScore(const TokenClasses& classes, bool continues = false) : classes_(classes) {
    state_.leading = continues;
  }
  void add(std::int32_t target, double nll);
  // "function_words" and "content_words", which part the tokens of the two word classes between them, and then the
  // seven classes, which part all tokens. Empty without a tokenizer. A word that is open counts as if it ended here.
  std::vector<ClassLoss> losses() const;

  struct Sum {
    std::int64_t tokens = 0, words = 0;
    double nll = 0;
  };
  // A word, or the part of one that was read. Longer ones than any function word are content words.
  struct Word {
    std::int64_t first = -1;         // its first id; -1: there is none
    std::int64_t length = 0;         // bytes of `letters`, from the second id on
    std::int64_t tokens = 0;         // of the two word classes
    double nll = 0;                  // theirs
    std::array<char, 16> letters{};  // the first `length` of them, where there are no more
  };
  // All that was added: plain data without padding.
  struct State {
    std::array<Sum, token_class_count> sums{};
    Sum function, content;
    Word head;                 // of a part that continues another: what may belong to that one's last word
    Word word;                 // the one that is being read
    std::int64_t leading = 0;  // 1: it is that head, and did not end yet
  };
  static_assert(sizeof(State) == 8 * (3 * (token_class_count + 2) + 2 * 6 + 1));
  const State& state() const { return state_; }
  // Adds the part that comes next.
  void add(const State& next);

 private:
  void continue_word(std::int64_t id);
  void join(const Word& next);
  void end_word();
  bool function(const Word& word) const;
  void spell(Word& word) const;
  const TokenClasses& classes_;
  State state_;
};

}  // namespace nll
