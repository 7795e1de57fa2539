#include "src/infer/stream.h"

#include <gtest/gtest.h>

#include "kernels/check.h"

namespace nll {
namespace {

const std::string bad = "\xEF\xBF\xBD";

// Everything that comes out when `text` goes in cut at `cuts`.
std::string through(const std::string& text, const std::vector<std::size_t>& cuts,
                    std::vector<std::string> stops = {}) {
  Utf8Stream stream(std::move(stops));
  std::string out;
  std::size_t begin = 0;
  for (std::size_t cut : cuts) {
    out += stream.push(text.substr(begin, cut - begin));
    begin = cut;
  }
  out += stream.push(text.substr(begin));
  return out + stream.flush();
}

// True where `text` is complete characters and nothing else: it goes through unchanged and leaves nothing to flush.
bool whole_characters(const std::string& text) {
  Utf8Stream stream;
  return stream.push(text) == text && stream.flush().empty();
}

TEST(Utf8Stream, NeverSplitsACharacterWhereverBytesAreCut) {
  const std::string text = "a\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBFz";
  ASSERT_TRUE(whole_characters(text));
  for (std::size_t first = 0; first <= text.size(); ++first) {
    for (std::size_t second = first; second <= text.size(); ++second) {
      Utf8Stream stream;
      std::string out;
      for (const std::string& part : {text.substr(0, first), text.substr(first, second - first), text.substr(second)}) {
        const std::string piece = stream.push(part);
        EXPECT_TRUE(whole_characters(piece)) << first << " " << second;
        out += piece;
      }
      EXPECT_EQ(out, text);
      EXPECT_EQ(stream.flush(), "");
    }
  }
}

TEST(Utf8Stream, HandsOutACharacterAsSoonAsItIsComplete) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("x"), "x");
  EXPECT_EQ(stream.push("\xF0\x9F"), "");
  EXPECT_EQ(stream.push("\x98"), "");
  EXPECT_EQ(stream.push("\x80y"), "\xF0\x9F\x98\x80y");
}

TEST(Utf8Stream, ReplacesInvalidBytesAsSoonAsTheyAreCertain) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("\x80"), bad);
  EXPECT_EQ(stream.push("\xE2\x82"), "");
  EXPECT_EQ(stream.push("A"), bad + "A");
  EXPECT_EQ(stream.push("\xF0"), "");
  EXPECT_EQ(stream.flush(), bad);
  EXPECT_EQ(stream.flush(), "");
}

TEST(Utf8Stream, ReplacesEachMaximalPartOfACharacterOnce) {
  // Overlong forms, surrogates, values above U+10FFFF, and the example of Unicode 15, table 3-8.
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"\xC0\xAF", bad + bad},
      {"\xE0\x80\xAF", bad + bad + bad},
      {"\xED\xA0\x80", bad + bad + bad},
      {"\xF4\x90\x80\x80", bad + bad + bad + bad},
      {"\xF5\xFF", bad + bad},
      {"a\xF1\x80\x80\xE1\x80\xC2"
       "b\x80"
       "c\x80\xBF"
       "d",
       "a" + bad + bad + bad + "b" + bad + "c" + bad + bad + "d"}};
  for (const auto& [text, expected] : cases) {
    for (std::size_t cut = 0; cut <= text.size(); ++cut) EXPECT_EQ(through(text, {cut}), expected) << cut;
  }
}

TEST(Utf8Stream, PrintsNothingOfAStopStringWhereverBytesAreCut) {
  const std::string text = "one\n\ntwo";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) EXPECT_EQ(through(text, {cut}, {"\n\n"}), "one") << cut;
}

TEST(Utf8Stream, HoldsBackOnlyWhatMayBeginAStopString) {
  Utf8Stream stream({"\n\nUser:"});
  EXPECT_EQ(stream.push("hello\n"), "hello");
  EXPECT_EQ(stream.push("\nUse"), "");
  EXPECT_EQ(stream.push("less"), "\n\nUseless");
  EXPECT_EQ(stream.push("\n\n\nUser"), "\n");
  EXPECT_FALSE(stream.stopped());
  EXPECT_EQ(stream.push(": hi"), "");
  EXPECT_TRUE(stream.stopped());
  EXPECT_EQ(stream.push("more"), "");
  EXPECT_EQ(stream.flush(), "");
}

TEST(Utf8Stream, FlushHandsOutTheBeginningOfAStopStringThatNeverCame) {
  EXPECT_EQ(through("end of te", {}, {"text"}), "end of te");
}

TEST(Utf8Stream, StopsAtTheStopStringThatIsCompleteFirst) {
  EXPECT_EQ(through("xabcd", {}, {"bcd", "abcde", "c"}), "xab");
  EXPECT_EQ(through("xabcd", {}, {"bc", "abc"}), "x");  // both end here: nothing of either is printed
  EXPECT_EQ(through("aaab", {}, {"aab"}), "a");
  EXPECT_EQ(through("ababac", {}, {"abac"}), "ab");
}

TEST(Utf8Stream, FindsStopStringsOfSeveralByteCharacters) {
  const std::string text = "caf\xC3\xA9\xE3\x80\x82no";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    EXPECT_EQ(through(text, {cut}, {"\xE3\x80\x82"}), "caf\xC3\xA9") << cut;
  }
}

TEST(Utf8Stream, RefusesAnEmptyStopString) {
  try {
    Utf8Stream stream({"x", ""});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::usage);
    EXPECT_STREQ(error.what(), "--stop: the text is empty (expected at least one character)");
  }
}

}  // namespace
}  // namespace nll
