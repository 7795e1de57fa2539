#include "src/eval/generated_text.h"

#include <gtest/gtest.h>

#include <cmath>

#include "src/eval/repetition_probe.h"

namespace nll {
namespace {

const std::vector<TokenText> texts{{1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4}, {5, 6, 7, 8, 9, 5, 10, 11}, {1, 2}};

// Counted by hand.
TEST(GeneratedText, CountsDifferentNgramsOverTheWholeCorpus) {
  EXPECT_DOUBLE_EQ(distinct_ngrams(texts, 1), 11.0 / 22);
  EXPECT_DOUBLE_EQ(distinct_ngrams(texts, 2), 11.0 / 19);
  EXPECT_DOUBLE_EQ(distinct_ngrams(texts, 3), 10.0 / 16);
  EXPECT_DOUBLE_EQ(distinct_ngrams(texts, 4), 9.0 / 14);
  EXPECT_TRUE(std::isnan(distinct_ngrams(texts, 13)));
  EXPECT_TRUE(std::isnan(distinct_ngrams({}, 1)));
}

TEST(GeneratedText, AveragesRepeatedNgramsOverTextsThatHaveThem) {
  const double expected[] = {(8.0 / 12 + 1.0 / 8) / 3, (7.0 / 11) / 3, (6.0 / 10) / 2, (5.0 / 9) / 2};
  const std::int64_t counted[] = {3, 3, 2, 2};
  for (std::int64_t n = 1; n <= 4; ++n) {
    const RepeatedNgrams found = repeated_ngrams(texts, n);
    EXPECT_NEAR(found.mean, expected[n - 1], 1e-15) << n;
    EXPECT_EQ(found.texts, counted[n - 1]) << n;
  }
  EXPECT_EQ(repeated_ngrams(texts, 13).texts, 0);
  EXPECT_TRUE(std::isnan(repeated_ngrams(texts, 13).mean));
}

TEST(GeneratedText, LooksForATokenInTheWindowBeforeIt) {
  EXPECT_DOUBLE_EQ(repeated_tokens(texts, 4), 8.0 / 22);
  EXPECT_DOUBLE_EQ(repeated_tokens(texts, 3), 0);
  EXPECT_DOUBLE_EQ(repeated_tokens(texts, 5), 9.0 / 22);  // and the 5 of the second text
  EXPECT_TRUE(std::isnan(repeated_tokens({}, 4)));
}

TEST(GeneratedText, ALoopIsThreeCopiesOfUpTo32TokensAtTheEnd) {
  const auto copies = [](std::int32_t period, std::size_t length) {
    TokenText text{100, 101};
    for (std::size_t i = 0; i < length; ++i) text.push_back(static_cast<std::int32_t>(i) % period);
    return text;
  };
  for (std::int32_t period : {1, 2, 7, 32}) {
    const std::size_t whole = static_cast<std::size_t>(3 * period);
    EXPECT_TRUE(ends_in_loop(copies(period, whole))) << period;
    EXPECT_TRUE(ends_in_loop(copies(period, whole + 1))) << period;  // cut anywhere
    EXPECT_FALSE(ends_in_loop(copies(period, whole - 1))) << period;
    TokenText left = copies(period, whole);
    left.push_back(50);
    EXPECT_FALSE(ends_in_loop(left)) << period;
  }
  EXPECT_FALSE(ends_in_loop(copies(33, 99)));
  EXPECT_FALSE(ends_in_loop({}));
  EXPECT_DOUBLE_EQ(loop_rate(texts), 1.0 / 3);
  EXPECT_TRUE(std::isnan(loop_rate({})));
}

// A model that knows a token from the last time it came: the log-probability is -1 over how often it was seen before.
std::vector<double> copycat(std::span<const std::int32_t> text) {
  std::vector<double> logp;
  for (std::size_t i = 1; i < text.size(); ++i) {
    const auto seen = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(i), text[i]);
    logp.push_back(seen == 0 ? -8.0 : -1.0 / static_cast<double>(seen));
  }
  return logp;
}

TEST(RepetitionProbe, TellsTheLossOfEachCopyWithoutItsFirstToken) {
  const std::vector<TokenText> pieces{{1, 2, 3}, {4, 5}};
  const std::vector<double> losses = loss_after_copies(copycat, pieces);
  ASSERT_EQ(losses.size(), 9u);
  EXPECT_DOUBLE_EQ(losses[0], 8);
  for (std::size_t n = 1; n < losses.size(); ++n) EXPECT_NEAR(losses[n], 1.0 / static_cast<double>(n), 1e-15) << n;
}

TEST(RepetitionProbe, ComparesARandomBlockWithItsCopy) {
  std::vector<TokenText> scored;
  const InductionProbe probe = probe_induction(
      [&](std::span<const std::int32_t> text) {
        scored.emplace_back(text.begin(), text.end());
        return copycat(text);
      },
      1 << 30, 3, 10, 7);
  EXPECT_DOUBLE_EQ(probe.first, 8);
  EXPECT_DOUBLE_EQ(probe.second, 1);
  ASSERT_EQ(scored.size(), 3u);
  for (const TokenText& text : scored) {
    ASSERT_EQ(text.size(), 20u);
    EXPECT_TRUE(std::equal(text.begin(), text.begin() + 10, text.begin() + 10));
  }
  EXPECT_NE(scored[0], scored[1]);
}

}  // namespace
}  // namespace nll
