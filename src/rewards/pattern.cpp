#define PCRE2_CODE_UNIT_WIDTH 8
#include "src/rewards/pattern.h"

#include <fmt/format.h>
#include <pcre2.h>

#include <array>
#include <cstdint>

#include "kernels/check.h"

namespace nll {

struct Pattern::Code {
  pcre2_code* code = nullptr;
  pcre2_match_data* match = nullptr;
  pcre2_match_context* context = nullptr;
  ~Code() {
    pcre2_match_context_free(context);
    pcre2_match_data_free(match);
    pcre2_code_free(code);
  }
  // The number of groups with a value, the match itself first; 0 or less: none.
  int search(std::string_view text, std::size_t from, std::uint32_t options) const {
    return pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from, options, match, context);
  }
};

Pattern::Pattern(const std::string& text, const std::string& key) : code_(std::make_unique<Code>()) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  // PCRE2_MATCH_INVALID_UTF: what a model writes need not be UTF-8; no match lies across a broken character.
  code_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF, &error, &offset, nullptr);
  if (code_->code == nullptr) {
    std::array<PCRE2_UCHAR, 256> why{};
    pcre2_get_error_message(error, why.data(), why.size());
    throw Error(
        Exit::usage,
        fmt::format("{}: {} at character {} of \"{}\"", key, reinterpret_cast<const char*>(why.data()), offset, text),
        "it is a regular expression of PCRE2");
  }
  pcre2_jit_compile(code_->code, PCRE2_JIT_COMPLETE);
  code_->match = pcre2_match_data_create_from_pattern(code_->code, nullptr);
  code_->context = pcre2_match_context_create(nullptr);
  CHECK(code_->match != nullptr);
  CHECK(code_->context != nullptr);
  // A pattern that tries too many ways on a text ends there instead of holding up the run.
  pcre2_set_match_limit(code_->context, 10'000'000);
}

Pattern::~Pattern() = default;
Pattern::Pattern(Pattern&&) noexcept = default;

bool Pattern::matches(std::string_view text) const { return code_->search(text, 0, 0) > 0; }

std::optional<std::string> Pattern::last(std::string_view text) const {
  std::optional<std::string> found;
  std::uint32_t options = 0;
  for (std::size_t from = 0; from <= text.size();) {
    const int groups = code_->search(text, from, options);
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(code_->match);
    if (groups <= 0) {
      if (options == 0) break;
      // An empty match stood here and nothing else does: on to the next character.
      options = 0;
      for (++from; from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0u) == 0x80u;) ++from;
      continue;
    }
    std::uint32_t captures = 0;
    pcre2_pattern_info(code_->code, PCRE2_INFO_CAPTURECOUNT, &captures);
    const std::size_t group = captures > 0 ? 1 : 0;
    const bool is_set = static_cast<std::size_t>(groups) > group && ends[2 * group] != PCRE2_UNSET;
    found = is_set ? std::string(text.substr(ends[2 * group], ends[2 * group + 1] - ends[2 * group])) : std::string();
    options = ends[0] == ends[1] ? PCRE2_NOTEMPTY_ATSTART | PCRE2_ANCHORED : 0;
    from = ends[1];
  }
  return found;
}

}  // namespace nll
