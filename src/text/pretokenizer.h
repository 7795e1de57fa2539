// Splits text into the pieces inside which bytes are merged: GPT-2's pattern, run by PCRE2 with JIT.
// Policy for broken text: each maximal run of bytes that are no valid UTF-8 is a piece of its own, kept byte for byte,
// and the valid text on either side of it is split as if it stood alone. (Hugging Face replaces such bytes instead.)
#pragma once
#include <cstddef>
#include <memory>
#include <string_view>

namespace nll {

class Pretokenizer {
 public:
  Pretokenizer();  // compiles the pattern
  ~Pretokenizer();
  Pretokenizer(const Pretokenizer&) = delete;
  Pretokenizer& operator=(const Pretokenizer&) = delete;

  // Walks the pieces of one text; any number of scanners may use one Pretokenizer at a time.
  class Scanner {
   public:
    Scanner(const Pretokenizer& pretokenizer, std::string_view text);
    ~Scanner();
    Scanner(const Scanner&) = delete;
    Scanner& operator=(const Scanner&) = delete;
    bool next(std::string_view& piece);  // false at the end of the text

   private:
    struct Match;
    const Pretokenizer& pretokenizer_;
    std::string_view text_;
    std::size_t position_ = 0, valid_end_ = 0;
    std::unique_ptr<Match> match_;
  };

 private:
  struct Pattern;
  std::unique_ptr<Pattern> pattern_;
};

// A place is safe to cut at when the text on either side, split alone, gives the pieces of the whole: before an ASCII
// white space that follows something else. The first such place at or after `from`, or the text's size.
std::size_t safe_cut_after(std::string_view text, std::size_t from);
// The last such place before the text's end, or 0.
std::size_t last_safe_cut(std::string_view text);

}  // namespace nll
