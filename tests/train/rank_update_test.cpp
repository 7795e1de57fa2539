#include "src/train/rank_update.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <thread>

#include "src/dist/threads.h"

namespace nll::test {

namespace {

ModelConfig small_model() {
  ModelConfig model;
  model.layers = 2;
  model.heads = 1;
  model.width = 32;
  model.context = 16;
  model.vocabulary = 61;
  return model;
}

struct Outcome {
  UpdateState state;
  std::vector<float> weights;
};

// One update on two ranks whose weights are 1; `spoil` may do something to a rank's gradients, which are 0.01, or
// guard.
std::vector<Outcome> update_on_two(bool sharded,
                                   const std::function<void(int rank, float* gradients, float* guard)>& spoil) {
  const auto transports = threads_transports(2);
  std::vector<Outcome> outcomes(2);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 2; ++rank) {
    threads.emplace_back([&, rank] {
      Backend backend = make_backend("cpu", cpu_options(1));
      Device& device = *backend.device;
      const ParameterTable table = ParameterTable::gpt2(small_model());
      const std::int64_t n = table.stored_elements();
      std::vector<GradientBucket> buckets = gradient_buckets(table, 2, 2, 1);
      Collective::Settings settings;
      settings.largest_bucket = settings.largest_part = n;
      Collective collective(transports[static_cast<std::size_t>(rank)], device, *backend.ops, settings);
      AdamWOptimizer optimizer(Config{}, table, *backend.ops, device, {},
                               sharded ? owned_spans(buckets, rank) : everything(table));
      UpdateState first;
      first.learning_rate = 0.1f;
      optimizer.set_state(first);
      const Buffer weights = device.allocate(4 * n), gradients = device.allocate(4 * n);
      auto* w = static_cast<float*>(weights.data());
      auto* g = static_cast<float*>(gradients.data());
      std::fill(w, w + n, 1.0f);
      std::fill(g, g + n, 0.01f);
      spoil(rank, g, optimizer.guard().as<float>());
      const auto flat = [&](const Buffer& buffer) { return buffer.tensor(0, DType::f32, {n}); };
      RankUpdate update(buckets, sharded, collective, device, *backend.ops, optimizer, flat(weights), {},
                        flat(gradients));
      for (std::size_t k = 0; k < buckets.size(); ++k) update.reduce(k);
      update.update(false);
      update.settle();
      Outcome& outcome = outcomes[static_cast<std::size_t>(rank)];
      device.download(&outcome.state, optimizer.state());
      outcome.weights.assign(w, w + n);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return outcomes;
}

}  // namespace

TEST(RankUpdate, ALossOrGradientThatIsNotFiniteOnOneRankSkipsTheUpdateOnAll) {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  for (const bool sharded : {true, false}) {
    for (const bool loss : {true, false}) {
      const std::vector<Outcome> outcomes = update_on_two(sharded, [&](int rank, float* gradients, float* guard) {
        if (rank == 1 && loss) *guard = nan;
        if (rank == 1 && !loss) gradients[1234] = infinity;
      });
      for (const Outcome& outcome : outcomes) {
        EXPECT_FALSE(std::isfinite(outcome.state.norm));
        EXPECT_EQ(outcome.state.updates, 0);
        for (const float weight : outcome.weights) ASSERT_EQ(weight, 1.0f);
      }
    }
  }
}

TEST(RankUpdate, GivesAllRanksTheSameWeightsShardedOrNot) {
  const auto nothing = [](int, float*, float*) {};
  const std::vector<Outcome> sharded = update_on_two(true, nothing), whole = update_on_two(false, nothing);
  EXPECT_EQ(sharded[0].weights, sharded[1].weights);
  EXPECT_EQ(sharded[0].weights, whole[0].weights);
  EXPECT_EQ(whole[0].weights, whole[1].weights);
  EXPECT_EQ(sharded[0].state.updates, 1);
  EXPECT_NE(sharded[0].weights.front(), 1.0f);
}

}  // namespace nll::test
