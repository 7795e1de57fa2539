#include "src/eval/loss_bucket.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cmath>
#include <filesystem>

#include "kernels/check.h"

namespace nll {
namespace {

TEST(PositionLosses, DoubleTheirWidthUpToTheLongestContext) {
  PositionLosses losses;
  for (std::int64_t seen = 1; seen <= 9; ++seen) losses.add(seen, static_cast<double>(seen));
  const std::vector<LossBucket>& found = losses.buckets();
  ASSERT_EQ(found.size(), 4u);
  const std::vector<std::vector<double>> expected = {{1, 1, 1, 1}, {2, 3, 2, 5}, {4, 7, 4, 22}, {8, 9, 2, 17}};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(static_cast<double>(found[i].first), expected[i][0]);
    EXPECT_EQ(static_cast<double>(found[i].last), expected[i][1]);
    EXPECT_EQ(static_cast<double>(found[i].tokens), expected[i][2]);
    EXPECT_EQ(found[i].nll, expected[i][3]);
  }
  EXPECT_EQ(found[3].loss(), 8.5);
}

TEST(FrequencyLosses, AreByPowersOfTenOfTheCount) {
  FrequencyLosses losses({0, 1, 9, 10, 99, 100, 81});
  for (std::int32_t id = 0; id < 7; ++id) losses.add(id, id);
  const std::vector<LossBucket>& found = losses.buckets();
  ASSERT_EQ(found.size(), 4u);
  EXPECT_EQ(found[0].last, 0);
  EXPECT_EQ(found[1].first, 1);
  EXPECT_EQ(found[1].last, 9);
  EXPECT_EQ(found[3].first, 100);
  EXPECT_EQ(found[3].last, 999);
  EXPECT_EQ(found[0].tokens, 1);
  EXPECT_EQ(found[1].tokens, 2);
  EXPECT_EQ(found[2].tokens, 3);
  EXPECT_EQ(found[3].tokens, 1);
  EXPECT_EQ(found[2].nll, 3 + 4 + 6);
  EXPECT_DOUBLE_EQ(found[3].unigram_loss(), std::log(3.0));
  EXPECT_DOUBLE_EQ(found[1].unigram_nll, std::log(300.0) + std::log(300.0 / 9));
  double nll = 0;
  for (const LossBucket& bucket : found) nll += bucket.nll;
  EXPECT_EQ(nll, 21);
}

TEST(CountTokens, CountsEveryTokenOfEveryFile) {
  std::string at = (std::filesystem::temp_directory_path() / "nll_eval_XXXXXX").string();
  CHECK(mkdtemp(at.data()) != nullptr);
  std::vector<std::string> paths;
  std::vector<std::int64_t> expected(7);
  for (int f = 0; f < 2; ++f) {
    paths.push_back(at + "/" + std::to_string(f) + ".bin");
    TokenFileWriter writer(paths.back(), 7, -1, 1);
    std::vector<std::int32_t> tokens;
    for (std::int32_t i = 0; i < (1 << 18) + 5; ++i) tokens.push_back(i * (f + 2) % 6);  // more than one block
    for (std::int32_t id : tokens) ++expected[static_cast<std::size_t>(id)];
    writer.append(tokens);
    writer.finish();
  }
  const TokenDataset dataset(paths, 1, 7);
  std::int64_t last = 0;
  EXPECT_EQ(count_tokens(dataset,
                         [&](std::int64_t done, std::int64_t total) {
                           EXPECT_EQ(total, 2 * ((1 << 18) + 5));
                           EXPECT_GT(done, last);
                           last = done;
                           return true;
                         }),
            expected);
  EXPECT_EQ(last, dataset.tokens());
  EXPECT_TRUE(count_tokens(dataset, [](std::int64_t, std::int64_t) { return false; }).empty());
  std::filesystem::remove_all(at);
}

}  // namespace
}  // namespace nll
