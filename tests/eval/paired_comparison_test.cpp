#include "src/eval/paired_comparison.h"

#include <gtest/gtest.h>

#include <cmath>

namespace nll {
namespace {

// tokens, bytes, nll, text_nll
std::vector<DocumentLoss> first() { return {{4, 8, 6, 5}, {2, 4, 5, 4}, {4, 8, 4, 4}, {3, 0, 3, 0}}; }
std::vector<DocumentLoss> second() { return {{4, 8, 8, 6}, {2, 4, 4, 3}, {4, 8, 4, 4}, {3, 0, 2, 0}}; }

TEST(PairedComparison, DifferencesAreOfSumsAndOfDocuments) {
  const auto found = compare_documents(first(), second(), true, 1, 100);
  ASSERT_TRUE(found && found->loss && found->bits_per_byte);
  EXPECT_EQ(found->documents, 4);
  EXPECT_EQ(found->bytes, 20);
  EXPECT_EQ(found->loss->value, 0.0);  // (18 - 18) / 13
  EXPECT_EQ(found->loss->documents, (std::vector<double>{-0.5, 0.5, 0, 1.0 / 3}));
  EXPECT_EQ(found->loss->better, 1);
  EXPECT_EQ(found->loss->equal, 1);
  EXPECT_EQ(found->loss->share_better(), 0.25);
  EXPECT_EQ(found->bits_per_byte->value, 0.0);
  ASSERT_EQ(found->bits_per_byte->documents.size(), 3u);  // the one without bytes has none
  EXPECT_DOUBLE_EQ(found->bits_per_byte->documents[1], 1 / (4 * std::log(2.0)));
}

TEST(PairedComparison, OtherTokensLeaveBytesAlone) {
  std::vector<DocumentLoss> other = second();
  for (DocumentLoss& one : other) one.tokens += 5;
  EXPECT_EQ(documents_differ(first(), other, false), "");
  EXPECT_EQ(documents_differ(first(), other, true), "document 1 has 4 tokens and 9");
  const auto found = compare_documents(first(), other, false, 1, 100);
  ASSERT_TRUE(found);
  EXPECT_FALSE(found->loss);
  ASSERT_TRUE(found->bits_per_byte);
  EXPECT_EQ(found->bits_per_byte->value, 0.0);
}

TEST(PairedComparison, DocumentsThatDifferAreNamed) {
  std::vector<DocumentLoss> other = second();
  other[2].bytes = 9;
  EXPECT_EQ(documents_differ(first(), other, true), "document 3 has 8 bytes and 9");
  other.pop_back();
  EXPECT_EQ(documents_differ(first(), other, true), "4 documents and 3");
}

TEST(PairedComparison, OneDocumentHasNoInterval) {
  const auto found = compare_documents({{4, 8, 6, 6}}, {{4, 8, 4, 4}}, true, 1, 100);
  ASSERT_TRUE(found && found->loss);
  EXPECT_EQ(found->loss->value, 0.5);
  EXPECT_FALSE(found->loss->interval);
  EXPECT_FALSE(found->bits_per_byte->interval);
}

TEST(PairedComparison, StopsWhenAsked) {
  EXPECT_FALSE(
      compare_documents(first(), second(), true, 1, 100, [](std::int64_t done, std::int64_t) { return done < 7; }));
}

TEST(PairedComparison, PairsKnowMoreThanTwoIntervals) {
  // Documents differ by up to 9 nats, the models by 0.1 +- 0.05 in each: the paired interval knows who is better, and
  // equals that of the bootstrap over the differences themselves.
  std::vector<DocumentLoss> a, b, differences;
  for (int i = 0; i < 200; ++i) {
    const double hard = i % 10, better = i % 2 == 0 ? 0.05 : 0.15;
    a.push_back({1, 1, hard, hard});
    b.push_back({1, 1, hard + better, hard + better});
    differences.push_back({1, 1, hard - (hard + better), hard - (hard + better)});
  }
  const auto found = compare_documents(a, b, true, 3, 1000);
  ASSERT_TRUE(found && found->loss && found->loss->interval);
  EXPECT_NEAR(found->loss->value, -0.1, 1e-12);
  EXPECT_LT(found->loss->interval->high, -0.09);  // 0.05 / sqrt(200) = 0.0035 a standard error
  EXPECT_GT(found->loss->interval->low, -0.11);
  EXPECT_EQ(found->loss->better, 200);
  const auto expected = bootstrap_intervals(differences, 3, 1000, {});
  ASSERT_TRUE(expected);
  EXPECT_DOUBLE_EQ(found->loss->interval->low, expected->loss.low);
  EXPECT_DOUBLE_EQ(found->loss->interval->high, expected->loss.high);
}

TEST(PairedComparison, AModelAgainstItselfIsEqual) {
  const auto found = compare_documents(first(), first(), true, 1, 100);
  ASSERT_TRUE(found && found->loss && found->loss->interval);
  EXPECT_EQ(found->loss->equal, 4);
  EXPECT_EQ(found->loss->interval->low, 0);
  EXPECT_EQ(found->loss->interval->high, 0);
}

}  // namespace
}  // namespace nll
