#include <gtest/gtest.h>

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "tests/optim/replicas.h"

namespace nll::test {
namespace {

// About 30 blocks of the norm, whose tensors begin and end inside of blocks.
Config clipped() {
  Config config;
  config.model.layers = 2;
  config.model.heads = 1;
  config.model.width = 64;
  config.model.context = 32;
  config.model.vocabulary = 301;
  config.optimizer.clip_norm = 0.5;
  config.optimizer.weight_decay = 0.1;
  return config;
}

TEST(ShardedUpdate, IsBitForBitThatOfOneRank) {
  for (const std::int64_t ranks : {1, 2, 3, 4, 5, 8, 40}) {
    for (const std::int64_t bucket_bytes : {0, 1 << 18}) {
      SCOPED_TRACE(fmt::format("{} ranks, {} bytes", ranks, bucket_bytes));
      Replicas replicas("cpu", clipped(), {}, ranks, bucket_bytes);
      for (std::uint64_t step = 1; step <= 3; ++step) {
        replicas.update(replicas.values(step, 0.1f), 1e-2f);
        EXPECT_GT(replicas.whole().state().norm, 0.5f);
        EXPECT_LT(replicas.whole().state().gradient_factor, 1.0f);
        replicas.expect_equal();
      }
    }
  }
}

TEST(ShardedUpdate, IsSkippedByAllWhereTheGradientsOfOneAreNotFinite) {
  for (const std::int64_t ranks : {2, 5}) {
    Replicas replicas("cpu", clipped(), {}, ranks, 1 << 17);
    replicas.update(replicas.values(1, 0.1f), 1e-2f);
    for (const std::int64_t place : {std::int64_t{0}, replicas.elements() / 2, replicas.elements() - 1}) {
      std::vector<float> gradients = replicas.values(2, 0.1f);
      gradients[static_cast<std::size_t>(place)] = std::numeric_limits<float>::infinity();
      replicas.update(gradients, 1e-2f);
      for (std::size_t r = 0; r < replicas.ranks(); ++r) {
        EXPECT_FALSE(std::isfinite(replicas.rank(r).state().norm));
        EXPECT_EQ(replicas.rank(r).state().updates, 1);
      }
      replicas.expect_equal();
    }
  }
}

TEST(ShardedUpdate, KeepsMomentsOfTheOwnedElementsOnly) {
  Replicas replicas("cpu", clipped(), {}, 3, 1 << 17);
  EXPECT_GT(replicas.buckets(), 1u);
  std::int64_t all = 0;
  for (std::size_t r = 0; r < replicas.ranks(); ++r) {
    const AdamWOptimizer& optimizer = replicas.rank(r).optimizer;
    EXPECT_EQ(optimizer.first_moment().size(), elements_of(optimizer.owned()));
    EXPECT_EQ(optimizer.second_moment().size(), elements_of(optimizer.owned()));
    all += optimizer.first_moment().size();
  }
  EXPECT_EQ(all, replicas.elements());
}

}  // namespace
}  // namespace nll::test
