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

void ClassScore::add(std::int32_t target, double nll) {
  if (classes_.empty()) return;
  const std::size_t id = static_cast<std::size_t>(target);
  const IdClass what = id < classes_.ids.size() ? classes_.ids[id] : IdClass{};
  Sum& sum = sums_[static_cast<std::size_t>(what.of)];
  ++sum.tokens;
  sum.nll += nll;
  if (word_.first >= 0 && (what.begins || !what.letters)) end_word();
  if (!what.letters) return;
  if (word_.first < 0) {
    word_.first = target;
  } else {
    continue_word(target);
  }
  if (!part_of_word(what.of)) return;
  ++word_.tokens;
  word_.nll += nll;
}

void ClassScore::continue_word(std::int32_t id) {
  const auto append = [&](const std::string& part) {
    if (word_.length + part.size() <= word_.letters.size())
      std::copy(part.begin(), part.end(), word_.letters.begin() + static_cast<std::ptrdiff_t>(word_.length));
    word_.length += part.size();
  };
  // Most words are one token and never come here: their letters are not looked at.
  if (word_.length == 0) append(classes_.letters[static_cast<std::size_t>(word_.first)]);
  append(classes_.letters[static_cast<std::size_t>(id)]);
}

bool ClassScore::function() const {
  if (word_.length == 0) return classes_.ids[static_cast<std::size_t>(word_.first)].function;
  return word_.length <= word_.letters.size() && is_function_word({word_.letters.data(), word_.length});
}

void ClassScore::end_word() {
  if (word_.tokens > 0) {
    Sum& sum = function() ? function_ : content_;
    sum.tokens += word_.tokens;
    ++sum.words;
    sum.nll += word_.nll;
  }
  word_.first = -1;
  word_.length = 0;
  word_.tokens = 0;
  word_.nll = 0;
}

std::vector<ClassLoss> ClassScore::losses() const {
  if (classes_.empty()) return {};
  ClassScore ended = *this;
  ended.end_word();
  constexpr std::array<const char*, token_class_count> names = {
      "word_starts", "word_continuations", "digits", "punctuation", "whitespace", "special", "other"};
  std::vector<ClassLoss> list = {{"function_words", ended.function_.tokens, ended.function_.words, ended.function_.nll},
                                 {"content_words", ended.content_.tokens, ended.content_.words, ended.content_.nll}};
  for (std::size_t c = 0; c < token_class_count; ++c) list.push_back({names[c], sums_[c].tokens, 0, sums_[c].nll});
  return list;
}

}  // namespace nll
