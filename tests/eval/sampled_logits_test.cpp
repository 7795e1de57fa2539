#include "src/eval/sampled_logits.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cmath>
#include <filesystem>
#include <map>

#include "src/eval/evaluate.h"
#include "src/eval/score.h"
#include "tests/model/rig.h"

namespace nll::test {
namespace {

constexpr std::int64_t V = 19, T = 6, B = 2;

struct Bench {
  explicit Bench(const HeadConfig& head_config = {}) : rig(tiny_model(), head_config) {
    rig.randomize(91);
    std::string pattern = (std::filesystem::temp_directory_path() / "nll_eval_XXXXXX").string();
    CHECK(mkdtemp(pattern.data()) != nullptr);
    folder = pattern;
    const std::string path = pattern + "/text.bin";
    TokenFileWriter writer(path, V, 18, 1);
    writer.append(random_tokens(5, 203, V));
    writer.finish();
    dataset = std::make_unique<TokenDataset>(std::vector<std::string>{path}, 1, V);
    lengths.bytes.assign(V, 1);
    lengths.special.assign(V, 0);
    lengths.characters.assign(V, 1);
  }
  ~Bench() {
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }
  // The sampled targets and the log-probability that their logits give them.
  std::vector<std::pair<std::int32_t, double>> sampled(const TokenSample& sample, std::int64_t rows,
                                                       std::int64_t* read = nullptr) {
    Gpt gpt(rig.model, rig.ops, rig.device, B, T, Pass::inference);
    Head head(rig.model, rig.head, rig.ops, rig.device, 64);
    SequentialWindows windows(*dataset, T, B, 0, V);
    const Arena inputs(rig.device, evaluation_plan(B, T));
    std::vector<std::pair<std::int32_t, double>> list;
    const std::int64_t count = sample_logits(
        gpt, head, rows, rig.device, rig.w, windows, inputs, sample,
        [&](std::span<const float> logits, std::int32_t target) {
          EXPECT_EQ(logits.size(), static_cast<std::size_t>(V));
          double d = 0;
          for (const float u : logits) d += std::exp(static_cast<double>(u));
          list.emplace_back(target, static_cast<double>(logits[static_cast<std::size_t>(target)]) - std::log(d));
        });
    if (read != nullptr) *read = count;
    return list;
  }
  // The same of all targets out of the head's own statistics.
  std::vector<std::pair<std::int32_t, double>> scored() {
    Gpt gpt(rig.model, rig.ops, rig.device, B, T, Pass::inference);
    Head head(rig.model, rig.head, rig.ops, rig.device, B * T);
    SequentialWindows windows(*dataset, T, B, 0, V);
    const Arena inputs(rig.device, evaluation_plan(B, T));
    std::vector<std::pair<std::int32_t, double>> list;
    score_windows(gpt, head, rig.device, rig.w, windows, lengths, inputs, {},
                  [&](const ScoredToken& token, std::int64_t) { list.emplace_back(token.target, token.logp); });
    return list;
  }
  Rig rig;
  std::string folder;
  std::unique_ptr<TokenDataset> dataset;
  TokenLengths lengths;
};

// Sums of at most 4 C terms on logits of a few units, through 8 L + 6 ops.
constexpr double tolerance = (8 * 2 + 6) * 4 * 8 * 0x1p-24 * 4;

TEST(SampledLogits, OneInOneIsEveryTokenWithItsLogProbability) {
  HeadConfig capped;
  capped.softcap = 3;
  for (const HeadConfig& head : {HeadConfig{}, capped}) {
    Bench bench(head);
    std::int64_t read = 0;
    const auto found = bench.sampled({1, 1}, 5, &read), expected = bench.scored();
    EXPECT_EQ(read, 202);
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(found[i].first, expected[i].first) << i;
      EXPECT_NEAR(found[i].second, expected[i].second, tolerance) << i;
    }
  }
}

TEST(SampledLogits, ASampleIsAPartOfAllAndTheSameAtAnyChunk) {
  Bench bench;
  const TokenSample sample{4, 1};
  const auto found = bench.sampled(sample, 64), again = bench.sampled(sample, 1), all = bench.scored();
  std::vector<std::pair<std::int32_t, double>> expected;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (sample.holds(static_cast<std::int64_t>(i))) expected.push_back(all[i]);
  }
  ASSERT_EQ(found.size(), expected.size());
  ASSERT_EQ(again.size(), expected.size());
  // 202 / 4 with four standard errors.
  EXPECT_NEAR(static_cast<double>(found.size()), 50.5, 4 * std::sqrt(202 * 0.25 * 0.75));
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].first, expected[i].first) << i;
    EXPECT_NEAR(found[i].second, expected[i].second, tolerance) << i;
    EXPECT_NEAR(again[i].second, expected[i].second, tolerance) << i;
  }
}

}  // namespace
}  // namespace nll::test
