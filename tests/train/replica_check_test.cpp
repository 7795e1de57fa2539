#include "src/train/replica_check.h"

#include <gtest/gtest.h>

#include <cstring>
#include <thread>

#include "src/checkpoint/hash.h"
#include "src/dist/agreement.h"
#include "src/dist/threads.h"

namespace nll::test {
namespace {

std::vector<Replica> replicas(const std::string& hashes) {
  std::vector<Replica> made;
  for (const char hash : hashes) {
    made.push_back({"rank " + std::to_string(made.size()) + " node" + std::to_string(made.size() / 2), {hash}});
  }
  return made;
}

TEST(Replicas, ThatAreEqualDoNotDiffer) {
  EXPECT_FALSE(difference(replicas("a")));
  EXPECT_FALSE(difference(replicas("aaaa")));
}

TEST(Replicas, OfTheMinorityAreNamed) {
  EXPECT_EQ(difference(replicas("aaab")), "the weights of rank 3 node1 are not those of the other 3 ranks");
  EXPECT_EQ(difference(replicas("baacaa")),
            "the weights of rank 0 node0, rank 3 node1 are not those of the other 4 ranks");
  EXPECT_EQ(difference(replicas("cbaa")),
            "the weights of rank 0 node0, rank 1 node0 are not those of the other 2 ranks");
}

TEST(Replicas, OfATieNameBothSides) {
  EXPECT_EQ(difference(replicas("ab")),
            "the weights of rank 0 node0 and of rank 1 node0 differ, and none has a majority");
  EXPECT_EQ(difference(replicas("abba")),
            "the weights of rank 0 node0, rank 3 node1 and of rank 1 node0, rank 2 node1 differ, and none has a "
            "majority");
}

TEST(Replicas, OfAHundredRanksFitOneLine) {
  std::string hashes(50, 'a');
  for (int i = 0; i < 50; ++i) hashes += static_cast<char>('b' + i % 2);
  EXPECT_NE(difference(replicas(hashes))->find("rank 57 node28 and 42 more are not"), std::string::npos);
  EXPECT_EQ(difference(replicas("abcdefgh")), "the weights of the 8 ranks are of 8 kinds, and none has a majority");
}

TEST(HashOf, IsThatOfTheBytesAndSeesEveryBit) {
  const Backend cpu = make_backend("cpu", cpu_options(1));
  const Buffer memory = cpu.device->allocate(1003);
  const Tensor tensor = memory.tensor(0, DType::u8, {1003});
  Hash128 expected;
  expected.update(memory.data(), 1003);
  const std::string before = hash_of(*cpu.device, tensor);
  EXPECT_EQ(before, expected.digest());
  auto* bytes = static_cast<std::uint8_t*>(memory.data());
  for (const int bit : {0, 7, 4000, 8 * 1003 - 1}) {
    bytes[bit / 8] = static_cast<std::uint8_t>(1 << bit % 8);
    EXPECT_NE(hash_of(*cpu.device, tensor), before);
    bytes[bit / 8] = 0;
  }
  EXPECT_EQ(hash_of(*cpu.device, tensor), before);
  EXPECT_EQ(hash_of(*cpu.device, memory.tensor(0, DType::f32, {0})), Hash128().digest());
}

// What each of `ranks` ranks says whose weights are 5000 zeros, one bit flipped on `faulty`.
std::vector<std::string> check(int ranks, int faulty) {
  const auto transports = threads_transports(ranks);
  std::vector<std::string> said(static_cast<std::size_t>(ranks));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      const Backend cpu = make_backend("cpu", cpu_options(1));
      Collective collective(transports[static_cast<std::size_t>(rank)], *cpu.device, *cpu.ops, {});
      const Buffer memory = cpu.device->allocate(4 * 5000);
      if (rank == faulty) static_cast<std::uint8_t*>(memory.data())[12345] = 0x10;
      try {
        check_replicas(collective, *cpu.device, memory.tensor(0, DType::f32, {5000}), 42);
      } catch (const AgreedError& error) {
        EXPECT_EQ(error.exit(), Exit::diverged);
        EXPECT_NE(error.hint().find("--resume"), std::string::npos);
        said[static_cast<std::size_t>(rank)] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return said;
}

TEST(ReplicaCheck, OfEqualWeightsSaysNothing) {
  for (const int ranks : {1, 2, 3}) EXPECT_EQ(check(ranks, -1), std::vector<std::string>(ranks)) << ranks;
}

TEST(ReplicaCheck, EndsAllRanksWithOneMessageThatNamesRankAndStep) {
  for (const int faulty : {0, 2}) {
    const std::vector<std::string> said = check(4, faulty);
    for (const std::string& text : said) EXPECT_EQ(text, said[0]);
    EXPECT_TRUE(said[0].starts_with("replicas at step 42: the weights of rank " + std::to_string(faulty))) << said[0];
    EXPECT_TRUE(said[0].ends_with(" are not those of the other 3 ranks")) << said[0];
  }
  const std::vector<std::string> two = check(2, 1);
  EXPECT_EQ(two[0], two[1]);
  EXPECT_TRUE(two[0].ends_with("none has a majority")) << two[0];
}

}  // namespace
}  // namespace nll::test
