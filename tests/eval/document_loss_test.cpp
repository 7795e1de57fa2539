#include "src/eval/document_loss.h"

#include <gtest/gtest.h>

#include <cmath>

namespace nll {
namespace {

// Ids 0 and 1 have one byte and two, 2 ends a document.
TokenLengths lengths() { return {{1, 2, 0}, {0, 0, 1}, {1, 2, 0}}; }

TEST(DocumentLosses, EndWithTheEndOfTextThatIsPredicted) {
  const TokenLengths l = lengths();
  DocumentLosses losses(l, 2);
  for (std::int32_t id : {0, 1, 2, 1, 2, 2, 0}) losses.add(id, 1.5);
  const std::vector<DocumentLoss> found = losses.documents();
  ASSERT_EQ(found.size(), 4u);
  EXPECT_EQ(found[0].tokens, 3);
  EXPECT_EQ(found[0].bytes, 3);
  EXPECT_EQ(found[0].nll, 4.5);
  EXPECT_EQ(found[0].text_nll, 3);
  EXPECT_EQ(found[1].tokens, 2);
  EXPECT_EQ(found[2].tokens, 1);  // an empty document
  EXPECT_EQ(found[2].bytes, 0);
  EXPECT_EQ(found[3].tokens, 1);
}

TEST(DocumentLosses, EndWhereTheyAreToldTo) {
  const TokenLengths l = lengths();
  DocumentLosses losses(l, -1);
  losses.end_document();  // nothing is open
  losses.add(0, 1);
  losses.add(2, 1);
  losses.end_document();
  losses.add(1, 1);
  EXPECT_EQ(losses.documents().size(), 2u);
}

TEST(BootstrapIntervals, OneDocumentHasNone) {
  EXPECT_FALSE(bootstrap_intervals({}, 1, 10, {}).has_value());
  EXPECT_FALSE(bootstrap_intervals({{5, 9, 3, 3}}, 1, 10, {}).has_value());
}

TEST(BootstrapIntervals, EqualDocumentsLeaveNoDoubt) {
  const std::vector<DocumentLoss> documents(7, {4, 8, 6, 4});
  const auto found = bootstrap_intervals(documents, 1, 50, {});
  ASSERT_TRUE(found && found->bits_per_byte);
  EXPECT_EQ(found->loss.low, 1.5);
  EXPECT_EQ(found->loss.high, 1.5);
  EXPECT_DOUBLE_EQ(found->bits_per_byte->low, 0.5 / std::log(2.0));
  EXPECT_DOUBLE_EQ(found->bits_per_byte->high, 0.5 / std::log(2.0));
}

TEST(BootstrapIntervals, AreAsWideAsTheoryHasThem) {
  // Documents of one token with loss 0 or 1: the mean of n draws is binomial. Its percentiles lie within one step of
  // 1 / n (the distribution's own) and the scatter of a percentile of 4000 resamples, about 3 of its standard errors
  // sqrt(p (1 - p) / 4000) / density = 0.04 standard deviations each.
  constexpr int n = 400;
  std::vector<DocumentLoss> documents;
  for (int i = 0; i < n; ++i)
    documents.push_back({1, 1, static_cast<double>(i % 4 == 0), static_cast<double>(i % 4 == 0)});
  const auto found = bootstrap_intervals(documents, 9, 4000, {});
  ASSERT_TRUE(found.has_value());
  const double deviation = std::sqrt(0.25 * 0.75 / n), tolerance = 1.0 / n + 3 * 0.04 * deviation;
  EXPECT_NEAR(found->loss.low, 0.25 - 1.959964 * deviation, tolerance);
  EXPECT_NEAR(found->loss.high, 0.25 + 1.959964 * deviation, tolerance);
}

TEST(BootstrapIntervals, AreTheSameForTheSameSeed) {
  std::vector<DocumentLoss> documents;
  for (int i = 1; i < 30; ++i) documents.push_back({i, 2 * i, 0.1 * i * i, 0.1 * i * i});
  const auto one = bootstrap_intervals(documents, 3, 200, {}), same = bootstrap_intervals(documents, 3, 200, {}),
             other = bootstrap_intervals(documents, 4, 200, {});
  EXPECT_EQ(one->loss.low, same->loss.low);
  EXPECT_EQ(one->bits_per_byte->high, same->bits_per_byte->high);
  EXPECT_NE(one->loss.low, other->loss.low);
}

TEST(BootstrapIntervals, WithoutBytesHaveOnlyTheLoss) {
  const auto found = bootstrap_intervals({{1, 0, 1, 0}, {1, 0, 2, 0}}, 1, 20, {});
  ASSERT_TRUE(found.has_value());
  EXPECT_FALSE(found->bits_per_byte.has_value());
}

TEST(BootstrapIntervals, StopWhenAskedTo) {
  const std::vector<DocumentLoss> documents(3, {1, 1, 1, 1});
  int calls = 0;
  EXPECT_FALSE(bootstrap_intervals(documents, 1, 100, [&](std::int64_t done, std::int64_t total) {
                 EXPECT_EQ(total, 100);
                 ++calls;
                 return done < 3;
               }).has_value());
  EXPECT_EQ(calls, 3);
}

}  // namespace
}  // namespace nll
