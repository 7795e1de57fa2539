#include "src/train/shared_pace.h"

#include <gtest/gtest.h>

#include <atomic>

#include "tests/dist/collective_rig.h"

namespace nll::test {
namespace {

// Runs `work(rank, pace)` on three ranks side by side; what run() said on each.
std::vector<int> paced(const std::function<void(int, SharedPace&)>& work, const std::function<bool(int)>& stop,
                       std::vector<Outcome>* outcomes = nullptr) {
  std::vector<int> said(3, -1);
  const std::vector<Outcome> all =
      run_ranks(threads_transports(3), [&](int rank, std::shared_ptr<Transport> transport) {
        RankMachine machine(std::move(transport), {});
        SharedPace pace(
            machine.collective, [&] { return stop(rank); }, 2);
        said[static_cast<std::size_t>(rank)] = pace.run("work", [&] { work(rank, pace); });
      });
  if (outcomes == nullptr) expect_all_done(all);
  if (outcomes != nullptr) *outcomes = all;
  return said;
}

TEST(SharedPace, RanksThatWorkForDifferentTimesEndTogether) {
  EXPECT_EQ(paced(
                [](int rank, SharedPace& pace) {
                  for (int i = 0; i < 7 * rank; ++i) EXPECT_TRUE(pace.tick());
                },
                [](int) { return false; }),
            (std::vector<int>{1, 1, 1}));
}

TEST(SharedPace, OneThatIsAskedToStopStopsAllEvenWhenItHasFinished) {
  std::atomic<int> ticks = 0;
  EXPECT_EQ(paced(
                [&](int rank, SharedPace& pace) {
                  while (rank != 0 && pace.tick()) ++ticks;
                },
                [&](int rank) { return rank == 0 && ticks > 10; }),
            (std::vector<int>{0, 0, 0}));
}

TEST(SharedPace, AnErrorOfOneEndsTheWorkOfAll) {
  std::vector<Outcome> outcomes;
  paced(
      [](int rank, SharedPace& pace) {
        if (rank == 2) throw Error(Exit::bad_data, "broken");
        while (pace.tick()) {
        }
      },
      [](int) { return false; }, &outcomes);
  for (const Outcome& outcome : outcomes) {
    EXPECT_EQ(outcome.exit, Exit::bad_data);
    EXPECT_TRUE(contains(outcome.message, "broken")) << outcome.message;
  }
}

}  // namespace
}  // namespace nll::test
