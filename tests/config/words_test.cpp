// The helpers of messages: quoting, edit distance, suggestions, numbers.
#include <gtest/gtest.h>

#include <limits>
#include <set>

#include "src/config/document.h"
#include "src/config/key.h"
#include "src/config/quote.h"
#include "src/config/suggest.h"

namespace nll {
namespace {

TEST(Quote, EscapesWhatWouldLeaveTheLine) {
  EXPECT_EQ(in_quotes("a\n\t\r\x1b[31m\x7f"), "\"a\\n\\t\\r\\u001b[31m\\u007f\"");
  EXPECT_EQ(shown("\u0085\u2028\u2029"), "\\u0085\\u2028\\u2029");
  EXPECT_EQ(shown("caf\xe9"), "caf\\xe9");
  EXPECT_EQ(shown("\u00e9\U0001F600"), "\u00e9\U0001F600");
}

TEST(Quote, CutsAfterSixtyCharactersAndNotInsideOne) {
  const std::string sixty(60, 'a');
  EXPECT_EQ(shown(sixty), sixty);
  EXPECT_EQ(shown(sixty + "a"), std::string(57, 'a') + "...");
  std::string accents, kept;
  for (int i = 0; i < 100; ++i) accents += "\u00e9";
  for (int i = 0; i < 57; ++i) kept += "\u00e9";
  EXPECT_EQ(shown(accents), kept + "...");
}

TEST(Utf8, NamesTheFirstInvalidByte) {
  EXPECT_EQ(invalid_utf8("plain \u00e9 \u20ac \U0001F600"), std::nullopt);
  for (const char* bad : {"ab\xff", "ab\xc0\xaf", "ab\xe0\x80\x80", "ab\xed\xa0\x80", "ab\xf4\x90\x80\x80",
                          "ab\xe2\x82", "ab\x80", "ab\xf0\x80\x80\x80", "ab\xc3("}) {
    EXPECT_EQ(invalid_utf8(bad), std::optional<std::size_t>(2)) << bad;
  }
}

TEST(EditDistance, CountsInsertionsDeletionsSubstitutionsAndSwaps) {
  EXPECT_EQ(edit_distance("", ""), 0);
  EXPECT_EQ(edit_distance("heads", "heads"), 0);
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("head", "heads"), 1);
  EXPECT_EQ(edit_distance("widht", "width"), 1);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("Heads", "heads"), 0);
  EXPECT_EQ(edit_distance("sitting", "kitten"), 3);
}

TEST(Suggest, FindsTheMeantNameAndNoFarOne) {
  const std::vector<std::string> keys = {"layers", "heads", "width", "clip_norm", "learning_rate"};
  EXPECT_EQ(nearest("layer", keys), "layers");
  EXPECT_EQ(nearest("learning", keys), "learning_rate");
  EXPECT_EQ(nearest("n_embd", keys), "width");
  EXPECT_EQ(nearest("norm", keys), "clip_norm");
  EXPECT_EQ(nearest("zebra", keys), "");
  EXPECT_EQ(nearest("", keys), "");
  EXPECT_EQ(nearest(std::string(1000, 'h'), keys), "");
}

TEST(Numbers, HaveTheShortestTextThatReadsBack) {
  EXPECT_EQ(number_text(6e-4), "0.0006");
  EXPECT_EQ(number_text(0.1), "0.1");
  EXPECT_EQ(number_text(1.0), "1");
  EXPECT_EQ(number_text(-0.0), "-0");
  EXPECT_EQ(number_text(1e300), "1e+300");
  EXPECT_EQ(number_text(std::numeric_limits<double>::denorm_min()), "5e-324");
}

TEST(JsonNumber, IsMeasuredByItsGrammar) {
  for (const char* whole : {"0", "-0", "12", "1.5", "1e5", "-1.5E-10", "0.0"}) {
    EXPECT_EQ(json_number_length(whole), std::string(whole).size()) << whole;
  }
  EXPECT_EQ(json_number_length(""), 0u);
  EXPECT_EQ(json_number_length("-"), 0u);
  EXPECT_EQ(json_number_length(".5"), 0u);
  EXPECT_EQ(json_number_length("+1"), 0u);
  EXPECT_EQ(json_number_length("01"), 1u);
  EXPECT_EQ(json_number_length("1."), 1u);
  EXPECT_EQ(json_number_length("1e"), 1u);
  EXPECT_EQ(json_number_length("1.5e+x"), 3u);
}

TEST(Keys, AreWholeWordsInSectionsAndEachOnce) {
  Config config;
  std::set<std::string> paths;
  for (const Key& key : keys_of(config)) {
    EXPECT_TRUE(paths.insert(key.path).second) << key.path;
    EXPECT_EQ(key.path.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_."), std::string::npos) << key.path;
    EXPECT_FALSE(key.help.empty()) << key.path;
  }
  EXPECT_GE(paths.size(), 40u);
}

TEST(Ranges, ReadAsWords) {
  Config config;
  const auto words = [&](const std::string& path) {
    for (const Key& key : keys_of(config)) {
      if (key.path == path) return expected(key);
    }
    return std::string("no such key");
  };
  EXPECT_EQ(words("model.heads"), "a whole number from 1 to 1024");
  EXPECT_EQ(words("model.dropout"), "a number from 0 to below 1");
  EXPECT_EQ(words("optimizer.epsilon"), "a number above 0");
  EXPECT_EQ(words("optimizer.learning_rate"), "a number of at least 0");
  EXPECT_EQ(words("schedule.final_fraction"), "a number from 0 to 1");
  EXPECT_EQ(words("sample.top_p"), "a number above 0 up to 1");
  EXPECT_EQ(words("batch.sequences"), "a whole number from 1 to 1048576 or \"auto\"");
  EXPECT_EQ(words("device"), "one of \"auto\", \"cpu\", \"cuda\"");
  EXPECT_EQ(words("data.train"), "a text or a list of texts");
  EXPECT_EQ(words("checkpoint.keep_best"), "true or false");
  EXPECT_EQ(words("run.directory"), "a text");
}

}  // namespace
}  // namespace nll
