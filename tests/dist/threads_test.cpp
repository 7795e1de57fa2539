#include "src/dist/threads.h"

#include <numeric>

#include "tests/dist/ranks.h"

namespace nll::test {
namespace {

// What rank `from` sends to rank `to`.
std::int32_t word(int operation, int from, int to) { return operation * 10000 + from * 100 + to; }

std::vector<std::int64_t> cuts_of(int ranks, std::int64_t share) {
  std::vector<std::int64_t> cuts;
  for (int r = 0; r <= ranks; ++r) cuts.push_back(5 + r * share);
  return cuts;
}

Tensor view(std::vector<std::int32_t>& values) {
  return {values.data(), DType::i32, {static_cast<std::int64_t>(values.size())}};
}

// Memory of one exchange of every rank with every other one.
struct AllToAll {
  std::vector<std::int32_t> send, received;
  std::vector<std::int64_t> cuts;
  Transport::Ticket ticket = 0;

  AllToAll(Transport& transport, int operation, std::int64_t share) : cuts(cuts_of(transport.world().size, share)) {
    const int rank = transport.world().rank, ranks = transport.world().size;
    for (int to = 0; to < ranks; ++to)
      send.insert(send.end(), static_cast<std::size_t>(share), word(operation, rank, to));
    received.assign(send.size(), -1);
    ticket = transport.all_to_all(view(received).reshape({ranks, share}), view(send), cuts,
                                  {"reduce-scatter", 17, operation});
  }
  std::vector<std::int32_t> expected(const World& world, int operation) const {
    std::vector<std::int32_t> all;
    for (int from = 0; from < world.size; ++from) {
      all.insert(all.end(), send.size() / static_cast<std::size_t>(world.size), word(operation, from, world.rank));
    }
    return all;
  }
};

TEST(Threads, KnowTheirPlaceInTheWorld) {
  const Transports transports = threads_transports(3);
  for (int r = 0; r < 3; ++r) {
    const World& world = transports[static_cast<std::size_t>(r)]->world();
    EXPECT_EQ(world.rank, r);
    EXPECT_EQ(world.local_rank, r);
    EXPECT_EQ(world.size, 3);
    EXPECT_EQ(world.local_size, 3);
  }
}

TEST(Threads, BringEachRankItsPartOfAllOthers) {
  for (const int ranks : {1, 2, 5}) {
    expect_all_done(run_ranks(threads_transports(ranks), [](int, std::shared_ptr<Transport> transport) {
      for (const std::int64_t share : {0, 1, 1000}) {
        AllToAll all(*transport, 1, share);
        transport->wait(all.ticket);
        EXPECT_EQ(all.received, all.expected(transport->world(), 1));
      }
    }));
  }
}

TEST(Threads, GatherPartsOfDifferentLengths) {
  expect_all_done(run_ranks(threads_transports(4), [](int rank, std::shared_ptr<Transport> transport) {
    const std::vector<std::int64_t> cuts = {10, 10, 13, 14, 20};
    std::vector<std::int32_t> all(10), mine(10, -1);
    std::iota(all.begin(), all.end(), 1);
    const auto r = static_cast<std::size_t>(rank);
    std::copy(all.begin() + cuts[r] - 10, all.begin() + cuts[r + 1] - 10, mine.begin() + cuts[r] - 10);
    transport->wait(transport->all_gather(view(mine), cuts, {"all-gather"}));
    EXPECT_EQ(mine, all);
  }));
}

TEST(Threads, FinishOperationsInAnyOrderAndLookForThemAnyNumberOfTimes) {
  constexpr int rounds = 50, together = 4;
  expect_all_done(run_ranks(threads_transports(3), [](int rank, std::shared_ptr<Transport> transport) {
    for (int round = 0; round < rounds; ++round) {
      std::vector<std::unique_ptr<AllToAll>> started;
      for (int i = 0; i < together; ++i) {
        started.push_back(std::make_unique<AllToAll>(*transport, round + i, 1 + (round * 37 + i * 101) % 500));
      }
      // Each rank begins with another one, so none would end if a rank moved only that for which it waits.
      for (int i = 0; i < together; ++i) {
        const int which = (i + rank) % together;
        AllToAll& one = *started[static_cast<std::size_t>(which)];
        transport->progress();
        transport->wait(one.ticket);
        transport->wait(one.ticket);
        EXPECT_EQ(one.received, one.expected(transport->world(), round + which));
        // What was sent may be used again.
        std::fill(one.send.begin(), one.send.end(), -7);
      }
    }
  }));
}

TEST(Threads, NameTheRanksThatDoNotComeTheOperationAndTheStep) {
  for (const int missing : {0, 2}) {
    const Transports transports = threads_transports(3);
    const auto outcomes = run_ranks(transports, [&](int rank, std::shared_ptr<Transport> transport) {
      transport->exchange({}, {"the start"});
      if (rank == missing) return;
      transport->set_limit(0.5);
      AllToAll all(*transport, 4, 10);
      transport->wait(all.ticket);
    });
    for (int rank = 0; rank < 3; ++rank) {
      const Outcome& outcome = outcomes[static_cast<std::size_t>(rank)];
      if (rank == missing) continue;
      EXPECT_EQ(outcome.exit, Exit::peer_lost);
      EXPECT_EQ(outcome.message, "rank " + std::to_string(missing) +
                                     " (this process): has not taken part in reduce-scatter of bucket 4 in step 17 "
                                     "for 0.5 s");
    }
    // The missing rank learns of it when it comes back.
    try {
      transports[static_cast<std::size_t>(missing)]->exchange({}, {"exchange"});
      ADD_FAILURE() << "the rank went on";
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::peer_lost);
      EXPECT_TRUE(contains(error.what(), "rank " + std::to_string(missing))) << error.what();
    }
  }
}

TEST(Threads, NameTheRankThatSkippedAnOperation) {
  const auto outcomes = run_ranks(threads_transports(4), [](int rank, std::shared_ptr<Transport> transport) {
    for (int i = 0; i < 3; ++i) {
      if (rank == 3 && i == 1) continue;
      AllToAll all(*transport, i, 10);
      transport->wait(all.ticket);
    }
  });
  for (const Outcome& outcome : outcomes) {
    EXPECT_EQ(outcome.exit, Exit::peer_lost);
    EXPECT_EQ(outcome.message,
              "rank 3 (this process): is at reduce-scatter of bucket 2 in step 17, rank 0 (this process) at "
              "reduce-scatter of bucket 1 in step 17 (an operation was skipped or repeated)");
  }
}

TEST(Threads, RefuseAnOperationOfAnotherSize) {
  const auto outcomes = run_ranks(threads_transports(3), [](int rank, std::shared_ptr<Transport> transport) {
    transport->exchange(std::vector<std::uint8_t>(rank == 1 ? 9 : 8), {"exchange", 3});
  });
  for (const Outcome& outcome : outcomes) {
    EXPECT_EQ(outcome.exit, Exit::peer_lost);
    EXPECT_TRUE(contains(outcome.message, "exchange in step 3")) << outcome.message;
  }
}

TEST(Threads, HearOfAnAbortAtOnce) {
  const auto outcomes = run_ranks(threads_transports(4), [](int rank, std::shared_ptr<Transport> transport) {
    transport->set_limit(3600);
    transport->exchange({}, {"a good one"});
    if (rank == 2) throw Error(Exit::bad_data, "shard.bin: torn");
    transport->exchange({}, {"exchange"});
  });
  EXPECT_EQ(outcomes[2].message, "shard.bin: torn");
  for (const int rank : {0, 1, 3}) {
    const Outcome& outcome = outcomes[static_cast<std::size_t>(rank)];
    EXPECT_EQ(outcome.exit, Exit::peer_lost);
    EXPECT_EQ(outcome.message, "rank 2 (this process) has ended the job with exit code 4");
  }
}

TEST(Threads, HearOfARankThatHasLeft) {
  Transports transports = threads_transports(2);
  transports[1]->set_limit(3600);
  transports[0].reset();
  try {
    transports[1]->exchange({}, {"exchange"});
    ADD_FAILURE() << "the rank went on";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "rank 0 (this process) has left the job");
  }
}

TEST(Threads, NoticeThatMemoryWasChangedOnItsWay) {
  expect_all_done(run_ranks(threads_transports(2), [](int rank, std::shared_ptr<Transport> transport) {
    AllToAll all(*transport, 1, 10);
    if (rank == 0) {
      all.send[3] += 1;
      EXPECT_THROW(transport->wait(all.ticket), std::logic_error);
    }
    transport->wait(all.ticket);
    EXPECT_EQ(all.received, all.expected(transport->world(), 1));
  }));
}

// So that what all ranks agreed to end with is what each of them says.
TEST(Threads, EndWhatAllRanksHaveBegunThoughOneAbortsRightAfterIt) {
  for (int round = 0; round < 100; ++round) {
    expect_all_done(run_ranks(threads_transports(4), [](int rank, std::shared_ptr<Transport> transport) {
      const std::vector<std::uint8_t> mine = {static_cast<std::uint8_t>(rank)};
      EXPECT_EQ(transport->exchange(mine, {"exchange"}), (std::vector<std::uint8_t>{0, 1, 2, 3}));
      if (rank % 2 == 0) transport->abort(Exit::io);
    }));
  }
}

}  // namespace
}  // namespace nll::test
