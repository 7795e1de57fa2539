#include "src/eval/context_loss.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/model/reference.h"
#include "tests/model/rig.h"

namespace nll::test {
namespace {

using Tokens = std::vector<std::int32_t>;

constexpr std::int64_t V = 19, context = 11;

struct Bench {
  explicit Bench(std::int64_t positions)
      : rig(config()),
        gpt(rig.model, rig.ops, rig.device, 1, positions, Pass::inference),
        head(rig.model, rig.head, rig.ops, rig.device, positions),
        scorer{gpt, head, rig.ops, rig.device, rig.w, positions} {
    rig.randomize(31);
  }
  static ModelConfig config() {
    ModelConfig model = tiny_model();
    model.context = context;
    return model;
  }
  // In double: the loss of the last token after the `c` before it.
  double reference(const Tokens& window, std::int64_t c) const {
    const std::vector<float> stored = rig.download(rig.weights);
    return -Reference{rig.model, rig.table}
                .score(std::vector<double>(stored.begin(), stored.end()),
                       Tokens(window.end() - 1 - c, window.end() - 1), Tokens(window.end() - c, window.end()), 1)
                .back()
                .logp;
  }
  Rig rig;
  Gpt gpt;
  Head head;
  ContextScorer scorer;
};

std::vector<Tokens> windows(std::uint64_t count, std::int64_t length = context + 1) {
  std::vector<Tokens> made;
  for (std::uint64_t i = 0; i < count; ++i) made.push_back(random_tokens(80 + i, length, V));
  return made;
}

TEST(ContextLoss, IsThatOfTheSameTokensAfterTheirLastTokensAlone) {
  Bench bench(context * 3);  // windows do not fill the last batch
  const std::vector<Tokens> read = windows(7);
  const std::vector<ContextLoss> found = context_losses(bench.scorer, read);
  const std::vector<std::int64_t> contexts{1, 2, 4, 8, context};
  ASSERT_EQ(found.size(), contexts.size());
  const double n = static_cast<double>(read.size());
  for (std::size_t i = 0; i < contexts.size(); ++i) {
    EXPECT_EQ(found[i].context, contexts[i]);
    double loss = 0, excess = 0, squares = 0;
    for (const Tokens& window : read) {
      const double own = bench.reference(window, contexts[i]), more = own - bench.reference(window, context);
      loss += own / n;
      excess += more / n;
      squares += more * more;
    }
    EXPECT_NEAR(found[i].loss.mean, loss, 1e-5) << contexts[i];
    EXPECT_NEAR(found[i].excess.mean, excess, 1e-5) << contexts[i];
    EXPECT_NEAR(found[i].excess.error, std::sqrt((squares - n * excess * excess) / (n * (n - 1))), 1e-5);
    EXPECT_GT(found[i].loss.error, 0);
  }
  EXPECT_EQ(found.back().excess.mean, 0);
}

TEST(ContextLoss, DoesNotDependOnTheBatchBeyondRounding) {
  Bench one(context), many(context * 16);
  const std::vector<Tokens> read = windows(9);
  const std::vector<ContextLoss> alone = context_losses(one.scorer, read), together = context_losses(many.scorer, read);
  ASSERT_EQ(alone.size(), together.size());
  for (std::size_t i = 0; i < alone.size(); ++i) EXPECT_NEAR(alone[i].loss.mean, together[i].loss.mean, 1e-6);
}

TEST(ContextLoss, OfATextOfFewTokensGoesAsFarAsItReaches) {
  Bench bench(context);
  const std::vector<ContextLoss> found = context_losses(bench.scorer, windows(1, 4));
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[2].context, 3);
  EXPECT_TRUE(std::isnan(found[0].loss.error));
}

TEST(ContextLoss, TellsItsProgressInTokens) {
  Bench bench(context);
  std::vector<std::int64_t> told;
  context_losses(bench.scorer, windows(2), [&](std::int64_t done, std::int64_t all) {
    EXPECT_EQ(all, 2 * (1 + 2 + 4 + 8 + context));
    told.push_back(done);
  });
  ASSERT_FALSE(told.empty());
  EXPECT_EQ(told.back(), 2 * (1 + 2 + 4 + 8 + context));
  EXPECT_THROW(context_losses(bench.scorer, windows(2),
                              [](std::int64_t, std::int64_t) { throw Error(Exit::stopped, "stopped"); }),
               Error);
}

}  // namespace
}  // namespace nll::test
