// Pattern: a regular expression of PCRE2 over UTF-8 text.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace nll {

class Pattern {
 public:
  // Throws Error(usage) led by `key`, with the place in the pattern.
  Pattern(const std::string& text, const std::string& key);
  ~Pattern();
  Pattern(Pattern&&) noexcept;

  // Bytes that are not UTF-8 are taken as U+FFFD. A search that goes beyond PCRE2's limits finds nothing.
  bool matches(std::string_view text) const;
  // The first group of the last match, or all of it where the pattern has no group; none without a match.
  std::optional<std::string> last(std::string_view text) const;

 private:
  struct Code;
  std::unique_ptr<Code> code_;
};

}  // namespace nll
