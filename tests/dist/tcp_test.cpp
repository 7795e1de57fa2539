#include "src/dist/tcp.h"

#include <gtest/gtest.h>

#include <atomic>
#include <numeric>

#include "tests/dist/tcp_job.h"

namespace nll {
namespace {

using test::on_tcp_ranks;

constexpr double limit = 60, short_limit = 0.5;

void expect_nothing_thrown(const std::vector<std::string>& thrown) {
  for (const std::string& text : thrown) EXPECT_EQ(text, "");
}

// Everybody left with the same text, which has `part` in it.
void expect_all_threw(const std::vector<std::string>& thrown, const std::string& part) {
  for (const std::string& text : thrown) {
    EXPECT_EQ(text, thrown.front());
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }
}

float value(int rank, std::int64_t i) { return static_cast<float>(1000 * rank + i % 997); }

TEST(TcpTransport, OperationsMoveTheRightBytesForAnyCuts) {
  for (int size : {1, 2, 3, 5}) {
    // Empty parts, and parts larger than what a socket holds.
    for (std::int64_t unit : {0, 1, 300'000}) {
      std::vector<std::int64_t> cuts{64};
      for (int r = 0; r < size; ++r) cuts.push_back(cuts.back() + (r == 1 ? 0 : unit + r));
      const std::int64_t total = cuts.back() - cuts.front();
      expect_nothing_thrown(on_tcp_ranks(size, limit, [&](Transport& transport) {
        const int rank = transport.world().rank;
        const auto at = static_cast<std::size_t>(rank);
        const std::int64_t own = cuts[at + 1] - cuts[at], begin = cuts[at] - cuts[0];
        std::vector<float> send(static_cast<std::size_t>(total) + 1),
            received(static_cast<std::size_t>(own * size) + 1);
        for (std::int64_t i = 0; i < total; ++i) send[static_cast<std::size_t>(i)] = value(rank, i);
        transport.wait(transport.all_to_all(Tensor(received.data(), DType::f32, {size, own}),
                                            Tensor(send.data(), DType::f32, {total}), cuts, {"reduce-scatter", 1, 0}));
        std::int64_t wrong = 0;
        for (int from = 0; from < size; ++from) {
          for (std::int64_t i = 0; i < own; ++i) {
            wrong += received[static_cast<std::size_t>(from * own + i)] != value(from, begin + i);
          }
        }
        EXPECT_EQ(wrong, 0);

        std::vector<float> data(static_cast<std::size_t>(total) + 1, -1.0f);
        for (std::int64_t i = begin; i < begin + own; ++i) data[static_cast<std::size_t>(i)] = value(rank, i);
        transport.wait(transport.all_gather(Tensor(data.data(), DType::f32, {total}), cuts, {"all-gather", 1, 0}));
        for (int r = 0; r < size; ++r) {
          for (std::int64_t i = cuts[static_cast<std::size_t>(r)]; i < cuts[static_cast<std::size_t>(r) + 1]; ++i) {
            wrong += data[static_cast<std::size_t>(i - cuts[0])] != value(r, i - cuts[0]);
          }
        }
        EXPECT_EQ(wrong, 0);

        for (int root = 0; root < size; ++root) {
          transport.wait(
              transport.broadcast(Tensor((rank == root ? send : data).data(), DType::f32, {total}), root, {"weights"}));
          if (rank == root) continue;
          for (std::int64_t i = 0; i < total; ++i) wrong += data[static_cast<std::size_t>(i)] != value(root, i);
        }
        EXPECT_EQ(wrong, 0);
      }));
    }
  }
}

TEST(TcpTransport, ExchangeGivesEverybodysBytesInTheOrderOfRanks) {
  expect_nothing_thrown(on_tcp_ranks(4, limit, [](Transport& transport) {
    const auto rank = static_cast<std::uint8_t>(transport.world().rank);
    for (std::uint8_t round = 0; round < 50; ++round) {
      const std::vector<std::uint8_t> mine{rank, round};
      const std::vector<std::uint8_t> all{0, round, 1, round, 2, round, 3, round};
      EXPECT_EQ(transport.exchange(mine, {"control", round}), all);
    }
    EXPECT_TRUE(transport.exchange({}, {"barrier"}).empty());
    EXPECT_FALSE(transport.device_memory());
  }));
}

TEST(TcpTransport, ARankThatSkipsAnOperationIsNamedByAll) {
  for (int odd : {0, 2}) {
    const auto thrown = on_tcp_ranks(4, limit, [odd](Transport& transport) {
      if (transport.world().rank != odd) transport.exchange({}, {"first", 7});
      transport.exchange({}, {"second", 7});
    });
    expect_all_threw(thrown, "rank " + std::to_string(odd) + " (");
    expect_all_threw(thrown, "is at second in step 7");
  }
}

TEST(TcpTransport, LengthsThatDifferAreNamed) {
  const auto thrown = on_tcp_ranks(3, limit, [](Transport& transport) {
    transport.exchange(std::vector<std::uint8_t>(transport.world().rank == 1 ? 5 : 3), {"control", 2});
  });
  expect_all_threw(thrown, "control in step 2 with 5 bytes instead of 3");
}

// A rank that does nothing until the others have left.
struct Bystander {
  std::atomic<int> left{0};
  void wait_for(int others) const {
    while (left.load() < others) std::this_thread::yield();
  }
};

TEST(TcpTransport, ARankThatIsSilentIsNamedByAll) {
  Bystander others;
  auto thrown = on_tcp_ranks(4, short_limit, [&](Transport& transport) {
    transport.exchange({}, {"start"});
    if (transport.world().rank == 2) return others.wait_for(3);
    try {
      transport.exchange({}, {"control", 3});
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::peer_lost);
      ++others.left;
      throw;
    }
  });
  EXPECT_EQ(thrown[2], "");
  thrown.erase(thrown.begin() + 2);
  expect_all_threw(thrown, "rank 2 (");
  expect_all_threw(thrown, "has not taken part in control in step 3 for 0.5 s");
}

TEST(TcpTransport, ASilentRank0IsNamedByTheOthers) {
  Bystander others;
  const auto thrown = on_tcp_ranks(3, 0.1, [&](Transport& transport) {
    transport.exchange({}, {"start"});
    if (transport.world().rank == 0) return others.wait_for(2);
    try {
      transport.exchange({}, {"control", 3});
    } catch (const Error&) {
      ++others.left;
      throw;
    }
  });
  EXPECT_EQ(thrown[0], "");
  EXPECT_NE(thrown[1].find("rank 0 ("), std::string::npos) << thrown[1];
  EXPECT_EQ(thrown[1], thrown[2]);
}

TEST(TcpTransport, ARankThatLeavesIsNamedByAll) {
  for (int leaver : {0, 1}) {
    auto thrown = on_tcp_ranks(3, limit, [leaver](Transport& transport) {
      transport.exchange({}, {"start"});
      if (transport.world().rank == leaver) return;
      transport.exchange({}, {"control", 4});
    });
    EXPECT_EQ(thrown[static_cast<std::size_t>(leaver)], "");
    thrown.erase(thrown.begin() + leaver);
    if (leaver == 0) {
      for (const std::string& text : thrown) {
        EXPECT_NE(text.find("the connection was lost in control in step 4"), std::string::npos) << text;
      }
    } else {
      expect_all_threw(thrown, "the connection was lost in control in step 4 (closed by the other side)");
    }
  }
}

TEST(TcpTransport, AbortEndsTheOperationsOfAll) {
  for (int aborting : {0, 2}) {
    auto thrown = on_tcp_ranks(4, limit, [aborting](Transport& transport) {
      transport.exchange({}, {"start"});
      if (transport.world().rank == aborting) return transport.abort(Exit::bad_data);
      transport.exchange(std::vector<std::uint8_t>(2'000'000), {"control", 4});
    });
    EXPECT_EQ(thrown[static_cast<std::size_t>(aborting)], "");
    thrown.erase(thrown.begin() + aborting);
    expect_all_threw(thrown, "rank " + std::to_string(aborting) + " (");
    expect_all_threw(thrown, "has ended the job (exit code 4)");
  }
}

TEST(TcpTransport, NothingWorksAfterAFailure) {
  const auto thrown = on_tcp_ranks(2, limit, [](Transport& transport) {
    std::string first;
    try {
      transport.exchange({}, {transport.world().rank == 0 ? "one thing" : "another"});
    } catch (const Error& error) {
      first = error.what();
    }
    EXPECT_NE(first, "");
    try {
      transport.exchange({}, {"again"});
      ADD_FAILURE() << "an operation after a failure";
    } catch (const Error& error) {
      EXPECT_EQ(error.what(), first);
    }
  });
  expect_nothing_thrown(thrown);
}

TEST(TcpTransport, MeetsAsTheLauncherSays) {
  int port = 0;
  {
    const Listener listener(0);
    port = listener.port();
  }
  std::thread second([port] {
    const auto transport = tcp_transport(test::tcp_launch(1, 2, port), limit);
    EXPECT_EQ(transport->world().rank, 1);
    transport->exchange({}, {"start"});
  });
  const auto transport = tcp_transport(test::tcp_launch(0, 2, port), limit);
  EXPECT_EQ(transport->name(), "tcp");
  EXPECT_EQ(transport->limit_seconds(), limit);
  EXPECT_NO_THROW(transport->exchange({}, {"start"}));
  second.join();
}

}  // namespace
}  // namespace nll
