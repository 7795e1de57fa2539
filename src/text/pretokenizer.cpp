#define PCRE2_CODE_UNIT_WIDTH 8
#include "src/text/pretokenizer.h"

#include <pcre2.h>

#include <limits>
#include <string>

#include "kernels/check.h"
#include "src/text/utf8.h"

namespace nll {
namespace {

// PCRE2's tables may be older than those of the tokenizers whose ids must be met: these are the letters and numbers
// that Unicode 15, 15.1 and 16 added. A newer PCRE2 knows them already, and naming them twice changes nothing.
constexpr const char* newer_letters =
    R"(\x{1c89}\x{1c8a}\x{a7cb}-\x{a7cd}\x{a7da}-\x{a7dc}\x{105c0}-\x{105f3}\x{10d4a}-\x{10d65}\x{10d6f}-\x{10d85})"
    R"(\x{10ec2}-\x{10ec4}\x{1123f}-\x{11240}\x{11380}-\x{11389}\x{1138b}\x{1138e}\x{11390}-\x{113b5}\x{113b7})"
    R"(\x{113d1}\x{113d3}\x{11bc0}-\x{11be0}\x{11f02}\x{11f04}-\x{11f10}\x{11f12}-\x{11f33}\x{1342f})"
    R"(\x{13441}-\x{13446}\x{13460}-\x{143fa}\x{16100}-\x{1611d}\x{16d40}-\x{16d6c}\x{18cff}\x{1b132}\x{1b155})"
    R"(\x{1df25}-\x{1df2a}\x{1e030}-\x{1e06d}\x{1e4d0}-\x{1e4eb}\x{1e5d0}-\x{1e5ed}\x{1e5f0}\x{2b739})"
    R"(\x{2ebf0}-\x{2ee5d}\x{31350}-\x{323af})";
constexpr const char* newer_numbers =
    R"(\x{10d40}-\x{10d49}\x{116d0}-\x{116e3}\x{11bf0}-\x{11bf9}\x{11f50}-\x{11f59}\x{16130}-\x{16139})"
    R"(\x{16d70}-\x{16d79}\x{1ccf0}-\x{1ccf9}\x{1d2c0}-\x{1d2d3}\x{1e4f0}-\x{1e4f9}\x{1e5f1}-\x{1e5fa})";
// Unicode's White_Space, written out because PCRE2's \s also takes U+180E, which left that set in Unicode 6.3.
constexpr const char* white_space =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

// GPT-2's pattern: 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
std::string pattern_text() {
  const std::string letter = std::string(R"(\p{L})") + newer_letters, number = std::string(R"(\p{N})") + newer_numbers;
  const std::string space = white_space;
  return "'s|'t|'re|'ve|'m|'ll|'d| ?[" + letter + "]+| ?[" + number + "]+| ?[^" + space + letter + number + "]+|[" +
         space + "]+(?![^" + space + "])|[" + space + "]+";
}

}  // namespace

struct Pretokenizer::Pattern {
  pcre2_code* code = nullptr;
  pcre2_match_context* context = nullptr;
  bool jit = false;

  Pattern() {
    int error = 0;
    PCRE2_SIZE offset = 0;
    const std::string text = pattern_text();
    // PCRE2_NO_UTF_CHECK with every match: the scanner has checked the text, and checking again would be quadratic.
    code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                         PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED | PCRE2_NO_UTF_CHECK, &error, &offset, nullptr);
    CHECK(code != nullptr);
    jit = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0;
    context = pcre2_match_context_create(nullptr);
    CHECK(context != nullptr);
    // Without JIT the interpreter stops at limits that a long run of one class would reach.
    pcre2_set_match_limit(context, std::numeric_limits<std::uint32_t>::max());
    pcre2_set_heap_limit(context, std::numeric_limits<std::uint32_t>::max());
  }
  ~Pattern() {
    pcre2_match_context_free(context);
    pcre2_code_free(code);
  }
  Pattern(const Pattern&) = delete;
  Pattern& operator=(const Pattern&) = delete;
};

Pretokenizer::Pretokenizer() : pattern_(std::make_unique<Pattern>()) {}
Pretokenizer::~Pretokenizer() = default;

struct Pretokenizer::Scanner::Match {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  Match() { CHECK(data != nullptr); }
  ~Match() { pcre2_match_data_free(data); }
  Match(const Match&) = delete;
  Match& operator=(const Match&) = delete;
};

Pretokenizer::Scanner::Scanner(const Pretokenizer& pretokenizer, std::string_view text)
    : pretokenizer_(pretokenizer), text_(text), match_(std::make_unique<Match>()) {}
Pretokenizer::Scanner::~Scanner() = default;

bool Pretokenizer::Scanner::next(std::string_view& piece) {
  if (position_ == text_.size()) return false;
  if (position_ == valid_end_) {
    const std::size_t invalid = invalid_prefix(text_.substr(position_));
    if (invalid > 0) {
      piece = text_.substr(position_, invalid);
      position_ = valid_end_ = position_ + invalid;
      return true;
    }
    valid_end_ = position_ + valid_prefix(text_.substr(position_));
  }
  const Pattern& pattern = *pretokenizer_.pattern_;
  const auto match = pattern.jit ? pcre2_jit_match : pcre2_match;
  const int found = match(pattern.code, reinterpret_cast<PCRE2_SPTR>(text_.data()), valid_end_, position_,
                          PCRE2_NO_UTF_CHECK, match_->data, pattern.context);
  CHECK(found == 1);  // every character begins a match
  const std::size_t end = pcre2_get_ovector_pointer(match_->data)[1];
  CHECK(end > position_);
  piece = text_.substr(position_, end - position_);
  position_ = end;
  return true;
}

namespace {

bool safe_cut_at(std::string_view text, std::size_t place) {
  const auto here = static_cast<std::uint8_t>(text[place]);
  if (here >= 0x80 || !is_white_space(here)) return false;
  const Utf8Character before = last_character(text.substr(0, place));
  return before.length == 0 || !is_white_space(before.code_point);
}

}  // namespace

std::size_t safe_cut_after(std::string_view text, std::size_t from) {
  for (std::size_t place = from > 0 ? from : 1; place < text.size(); ++place) {
    if (safe_cut_at(text, place)) return place;
  }
  return text.size();
}

std::size_t last_safe_cut(std::string_view text) {
  for (std::size_t place = text.size(); place-- > 1;) {
    if (safe_cut_at(text, place)) return place;
  }
  return 0;
}

}  // namespace nll
