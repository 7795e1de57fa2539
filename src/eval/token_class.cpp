#define PCRE2_CODE_UNIT_WIDTH 8
#include "src/eval/token_class.h"

#include <pcre2.h>

#include <algorithm>

#include "kernels/check.h"
#include "src/text/utf8.h"

namespace nll {
namespace {

// The groups are the classes, in this order. Marks (accents that follow their letter) are parts of words.
constexpr std::string_view pattern_text =
    R"((?:(\s+\p{L}[\p{L}\p{M}]*)|('?[\p{L}\p{M}]+)|(\s*\p{N}+)|(\s*[^\s\p{L}\p{M}\p{N}]+)|(\s+))\z)";
constexpr std::array<TokenClass, 5> pattern_classes = {TokenClass::word_start, TokenClass::word_continuation,
                                                       TokenClass::digits, TokenClass::punctuation,
                                                       TokenClass::whitespace};

class ClassPattern {
 public:
  ClassPattern() {
    int error = 0;
    PCRE2_SIZE offset = 0;
    code_ = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern_text.data()), pattern_text.size(),
                          PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED, &error, &offset, nullptr);
    CHECK(code_ != nullptr);
    match_ = pcre2_match_data_create_from_pattern(code_, nullptr);
    CHECK(match_ != nullptr);
  }
  ~ClassPattern() {
    pcre2_match_data_free(match_);
    pcre2_code_free(code_);
  }
  ClassPattern(const ClassPattern&) = delete;
  ClassPattern& operator=(const ClassPattern&) = delete;

  TokenClass of(std::string_view bytes) {
    if (bytes.empty() || valid_prefix(bytes) != bytes.size()) return TokenClass::other;
    const int groups = pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(bytes.data()), bytes.size(), 0, 0, match_,
                                   nullptr);  // one more than the number of the last group that is set
    return groups < 2 ? TokenClass::other : pattern_classes[static_cast<std::size_t>(groups) - 2];
  }

 private:
  pcre2_code* code_ = nullptr;
  pcre2_match_data* match_ = nullptr;
};

// Bytes of white space that the text begins with.
std::size_t leading_space(std::string_view bytes) {
  std::size_t at = 0;
  for (;;) {
    const Utf8Character next = first_character(bytes.substr(at));
    if (next.length == 0 || !is_white_space(next.code_point)) return at;
    at += next.length;
  }
}

bool part_of_word(TokenClass c) { return c == TokenClass::word_start || c == TokenClass::word_continuation; }

}  // namespace

TokenClass token_class(std::string_view bytes) { return ClassPattern().of(bytes); }

TokenClasses token_classes(const Tokenizer& tokenizer) {
  ClassPattern pattern;
  TokenClasses classes;
  for (std::int32_t id = 0; id < tokenizer.vocabulary(); ++id) {
    const std::string_view bytes = tokenizer.token_bytes(id);
    const TokenClass found = tokenizer.special(id) ? TokenClass::special : pattern.of(bytes);
    const std::size_t space = leading_space(bytes);
    // A piece of a character can be a piece of a letter. It stands in no list, so it makes its word a content word.
    const bool piece = found == TokenClass::other && valid_prefix(bytes) != bytes.size();
    std::string letters;
    if (part_of_word(found) || piece) letters = std::string(bytes.substr(space));
    for (char& c : letters) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    const bool function = part_of_word(found) && is_function_word(letters);
    classes.ids.push_back({found, !letters.empty(), space > 0, function});
    classes.letters.push_back(std::move(letters));
  }
  return classes;
}

namespace {

void append(ClassScore::Word& word, std::string_view letters) {
  const std::size_t length = static_cast<std::size_t>(word.length);
  if (length + letters.size() <= word.letters.size())
    std::copy(letters.begin(), letters.end(), word.letters.begin() + static_cast<std::ptrdiff_t>(length));
  word.length += static_cast<std::int64_t>(letters.size());
}

void add_sum(ClassScore::Sum& to, const ClassScore::Sum& from) {
  to.tokens += from.tokens;
  to.words += from.words;
  to.nll += from.nll;
}

}  // namespace

void ClassScore::add(std::int32_t target, double nll) {
  if (classes_.empty()) return;
  const std::size_t id = static_cast<std::size_t>(target);
  const IdClass what = id < classes_.ids.size() ? classes_.ids[id] : IdClass{};
  Sum& sum = state_.sums[static_cast<std::size_t>(what.of)];
  ++sum.tokens;
  sum.nll += nll;
  if (what.begins || !what.letters) end_word();
  if (!what.letters) return;
  Word& word = state_.word;
  if (word.first < 0) {
    word.first = target;
  } else {
    continue_word(target);
  }
  if (!part_of_word(what.of)) return;
  ++word.tokens;
  word.nll += nll;
}

// Most words are one token: their letters are not looked at.
void ClassScore::spell(Word& word) const {
  if (word.length == 0) append(word, classes_.letters[static_cast<std::size_t>(word.first)]);
}

void ClassScore::continue_word(std::int64_t id) {
  spell(state_.word);
  append(state_.word, classes_.letters[static_cast<std::size_t>(id)]);
}

// The open word goes on with `next`, the beginning of another part.
void ClassScore::join(const Word& next) {
  Word& word = state_.word;
  if (next.first < 0) return;
  if (word.first < 0) {
    word = next;
    return;
  }
  Word rest = next;
  spell(word);
  spell(rest);
  const std::size_t known = std::min(static_cast<std::size_t>(rest.length), rest.letters.size());
  append(word, {rest.letters.data(), known});
  word.length += rest.length - static_cast<std::int64_t>(known);
  word.tokens += rest.tokens;
  word.nll += rest.nll;
}

bool ClassScore::function(const Word& word) const {
  if (word.length == 0) return classes_.ids[static_cast<std::size_t>(word.first)].function;
  const std::size_t length = static_cast<std::size_t>(word.length);
  return length <= word.letters.size() && is_function_word({word.letters.data(), length});
}

// No token that comes belongs to the open word.
void ClassScore::end_word() {
  Word& word = state_.word;
  if (state_.leading == 1) {
    // Whether it is a word by itself is known when the part before this one is.
    state_.head = word;
    state_.leading = 0;
  } else if (word.first >= 0 && word.tokens > 0) {
    Sum& sum = function(word) ? state_.function : state_.content;
    sum.tokens += word.tokens;
    ++sum.words;
    sum.nll += word.nll;
  }
  word = Word{};
}

void ClassScore::add(const State& next) {
  for (std::size_t c = 0; c < token_class_count; ++c) add_sum(state_.sums[c], next.sums[c]);
  if (next.leading == 1) {
    // It is all one word, or nothing.
    join(next.word);
    return;
  }
  join(next.head);
  end_word();
  add_sum(state_.function, next.function);
  add_sum(state_.content, next.content);
  state_.word = next.word;
}

std::vector<ClassLoss> ClassScore::losses() const {
  if (classes_.empty()) return {};
  // The whole: nothing comes before it or after it.
  ClassScore whole(classes_);
  whole.add(state_);
  whole.end_word();
  constexpr std::array<const char*, token_class_count> names = {
      "word_starts", "word_continuations", "digits", "punctuation", "whitespace", "special", "other"};
  const Sum &function_words = whole.state_.function, &content_words = whole.state_.content;
  std::vector<ClassLoss> list = {{"function_words", function_words.tokens, function_words.words, function_words.nll},
                                 {"content_words", content_words.tokens, content_words.words, content_words.nll}};
  for (std::size_t c = 0; c < token_class_count; ++c) {
    const Sum& sum = whole.state_.sums[c];
    list.push_back({names[c], sum.tokens, 0, sum.nll});
  }
  return list;
}

}  // namespace nll
