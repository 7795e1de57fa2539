#include "kernels/cpu/team.h"

#include <gtest/gtest.h>

#include "kernels/check.h"
#include "kernels/cpu/gemm.h"

namespace nll::cpu {
namespace {

TEST(ThreadTeam, RunsEachThreadOnceARound) {
  for (const int threads : {1, 2, 3, 7}) {
    ThreadTeam team(threads);
    std::vector<int> calls(static_cast<std::size_t>(threads));
    for (int round = 0; round < 200; ++round) team.run([&](int thread) { ++calls[static_cast<std::size_t>(thread)]; });
    EXPECT_EQ(calls, std::vector<int>(static_cast<std::size_t>(threads), 200));
  }
}

TEST(ThreadTeam, WakesAfterItSlept) {
  ThreadTeam team(2);
  std::atomic<int> calls{0};
  for (int round = 0; round < 3; ++round) {
    team.run([&](int) { ++calls; });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // longer than it polls; the claim holds at any length
  }
  EXPECT_EQ(calls, 6);
}

TEST(ThreadTeam, RethrowsWhatTheLowestThreadThrew) {
  ThreadTeam team(3);
  for (int round = 0; round < 2; ++round) {
    try {
      team.run([](int thread) {
        if (thread > 0) throw Error(Exit::internal, "thread " + std::to_string(thread));
      });
      FAIL() << "nothing was thrown";
    } catch (const Error& error) {
      EXPECT_STREQ(error.what(), "thread 1");
    }
  }
  int calls = 0;
  team.run([&](int thread) {
    if (thread == 0) ++calls;
  });
  EXPECT_EQ(calls, 1);
}

TEST(ThreadTeam, RefusesWorkFromWithinWork) {
  ThreadTeam team(2);
  EXPECT_THROW(team.run([&](int) { team.run([](int) {}); }), std::logic_error);
}

TEST(ThreadTeam, LeavesTheCallersAffinityAsItWas) {
  cpu_set_t before, after;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  ThreadTeam team(CPU_COUNT(&before));
  for (int round = 0; round < 100; ++round) team.run([](int) {});
  ASSERT_EQ(sched_getaffinity(0, sizeof(after), &after), 0);
  EXPECT_TRUE(CPU_EQUAL(&before, &after));
}

TEST(PartOf, CoversEverythingOnceAtMultiplesOfTheUnit) {
  for (const std::int64_t count : {0, 1, 5, 64, 65, 1000}) {
    for (const std::int64_t unit : {1, 16, 64}) {
      for (const int parts : {1, 2, 3, 8}) {
        std::int64_t at = 0, smallest = count, largest = 0;
        for (int part = 0; part < parts; ++part) {
          const Range range = part_of(count, unit, part, parts);
          EXPECT_EQ(range.begin, at);
          EXPECT_TRUE(range.end == count || range.end % unit == 0);
          smallest = std::min(smallest, range.size());
          largest = std::max(largest, range.size());
          at = range.end;
        }
        EXPECT_EQ(at, count);
        EXPECT_LE(largest - smallest, unit);
      }
    }
  }
}

TEST(BlockOf, CoversEveryElementOnce) {
  for (const std::int64_t m : {1, 24, 100, 257}) {
    for (const std::int64_t n : {1, 64, 200}) {
      for (const int threads : {1, 2, 3, 4, 7}) {
        std::vector<int> covered(static_cast<std::size_t>(m * n));
        for (int thread = 0; thread < threads; ++thread) {
          Gemm gemm;
          gemm.m = m, gemm.n = n, gemm.k = 100000;
          const Block block = block_of(gemm, thread, threads);
          for (std::int64_t i = block.rows.begin; i < block.rows.end; ++i) {
            for (std::int64_t j = block.columns.begin; j < block.columns.end; ++j) {
              ++covered[static_cast<std::size_t>(i * n + j)];
            }
          }
        }
        EXPECT_EQ(covered, std::vector<int>(static_cast<std::size_t>(m * n), 1));
      }
    }
  }
}

}  // namespace
}  // namespace nll::cpu
