// Sums of gradients over ranks: their values, and that their bits depend on nothing but the order that was asked for.
#include <cmath>
#include <limits>

#include "tests/dist/collective_rig.h"

namespace nll::test {
namespace {

Collective::Settings settings_of(std::int64_t largest, SumOrder order = SumOrder::sequence, DType wire = DType::f32) {
  Collective::Settings settings;
  settings.order = order;
  settings.wire = wire;
  settings.largest_bucket = largest;
  return settings;
}

// Added in the order of ranks in FP32.
std::vector<float> sequence_sum(int ranks, std::int64_t n, const std::function<std::vector<float>(int)>& mine) {
  std::vector<float> sum = mine(0);
  for (int r = 1; r < ranks; ++r) {
    const std::vector<float> more = mine(r);
    for (std::int64_t i = 0; i < n; ++i) sum[static_cast<std::size_t>(i)] += more[static_cast<std::size_t>(i)];
  }
  return sum;
}

// As the hardware rounds: to nearest even, in the upper half of the bits.
float rounded_to_bf16(float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  bits = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000u;
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

TEST(CollectiveSum, IsThatOfExactArithmeticWithinRoundingAtOneToFiveRanks) {
  constexpr std::int64_t n = 10007;
  for (const SumOrder order : {SumOrder::sequence, SumOrder::tree}) {
    for (int ranks = 1; ranks <= 5; ++ranks) {
      const std::vector<float> sum =
          sum_over_ranks(threads_transports(ranks), even_buckets({3000, 9000, n}, ranks), settings_of(6000, order),
                         [](int rank) { return addends(rank, n); });
      std::vector<double> exact(n, 0.0), magnitude(n, 0.0);
      for (int r = 0; r < ranks; ++r) {
        const std::vector<float> mine = addends(r, n);
        for (std::size_t i = 0; i < n; ++i) {
          exact[i] += static_cast<double>(mine[i]);
          magnitude[i] += std::abs(static_cast<double>(mine[i]));
        }
      }
      // Each of R - 1 additions rounds by half a unit at most; the second order terms are below one part in a million.
      const double unit = static_cast<double>(std::numeric_limits<float>::epsilon()) / 2;
      for (std::size_t i = 0; i < n; ++i) {
        ASSERT_LE(std::abs(static_cast<double>(sum[i]) - exact[i]), 1.000001 * (ranks - 1) * unit * magnitude[i])
            << ranks << " ranks, element " << i;
      }
    }
  }
}

TEST(CollectiveSum, OfASequenceIsAddedInTheOrderOfRanks) {
  constexpr std::int64_t n = 5000;
  const auto mine = [](int rank) { return addends(rank, n); };
  for (int ranks = 1; ranks <= 5; ++ranks) {
    const auto sum = sum_over_ranks(threads_transports(ranks), even_buckets({n}, ranks), settings_of(n), mine);
    EXPECT_EQ(bits_of(sum), bits_of(sequence_sum(ranks, n, mine))) << ranks << " ranks";
  }
}

TEST(CollectiveSum, HasTheSameBitsHoweverBucketsAreCut) {
  constexpr std::int64_t n = 10007;
  const std::vector<std::vector<std::int64_t>> cuts = {
      {n}, {1, n}, {4096, 8192, n}, {17, 17, 5000, 5001, 9999, n}, {n, n}, {0, 2500, 5000, 7500, n}};
  for (const SumOrder order : {SumOrder::sequence, SumOrder::tree}) {
    for (const int ranks : {2, 3, 5}) {
      std::vector<float> first;
      for (const std::vector<std::int64_t>& ends : cuts) {
        const auto sum = sum_over_ranks(threads_transports(ranks), even_buckets(ends, ranks), settings_of(n, order),
                                        [](int rank) { return addends(rank, n); });
        if (first.empty()) first = sum;
        EXPECT_EQ(bits_of(sum), bits_of(first)) << ranks << " ranks, " << ends.size() << " buckets";
      }
    }
  }
}

TEST(CollectiveSum, OfATreeHasTheSameBitsAtOneTwoFourAndEightRanks) {
  constexpr std::int64_t n = 3001;
  constexpr int count = 8;
  // Each rank adds its consecutive addends in a tree of its own before it meets the others.
  const auto at_ranks = [&](int ranks, SumOrder order) {
    return sum_over_ranks(
        threads_transports(ranks), even_buckets({1000, n}, ranks), settings_of(n, order), [&](int rank) {
          const int share = count / ranks;
          std::vector<float> parts, sum(n);
          for (int i = 0; i < share; ++i) {
            const std::vector<float> more = addends(rank * share + i, n);
            parts.insert(parts.end(), more.begin(), more.end());
          }
          Backend backend = make_backend("cpu", cpu_options(1));
          backend.ops->sum_parts({sum.data(), DType::f32, {n}}, {parts.data(), DType::f32, {share, n}}, order);
          return sum;
        });
  };
  const std::vector<float> one = at_ranks(1, SumOrder::tree);
  for (const int ranks : {2, 4, 8}) EXPECT_EQ(bits_of(at_ranks(ranks, SumOrder::tree)), bits_of(one)) << ranks;
  // The addends are such that another order shows.
  EXPECT_NE(bits_of(at_ranks(4, SumOrder::sequence)), bits_of(one));
}

TEST(CollectiveSum, AllowsRanksWithoutElementsAndEmptyBuckets) {
  const auto mine = [](int rank) { return addends(rank, 3); };
  const std::vector<Bucket> buckets = even_buckets({0, 1, 1, 3, 3}, 5);
  const auto sum = sum_over_ranks(threads_transports(5), buckets, settings_of(3), mine);
  EXPECT_EQ(bits_of(sum), bits_of(sequence_sum(5, 3, mine)));
}

TEST(CollectiveSum, AllowsPartsOfAnySizeUpToTheLargest) {
  constexpr std::int64_t n = 9000;
  const auto mine = [](int rank) { return addends(rank, n); };
  Collective::Settings settings = settings_of(n);
  settings.largest_part = n;
  const std::vector<Bucket> buckets = {{0, {5000, 5000, 9000, 9000}}, {1, {0, 10, 11, 5000}}};
  const auto sum = sum_over_ranks(threads_transports(3), buckets, settings, mine);
  EXPECT_EQ(bits_of(sum), bits_of(sequence_sum(3, n, mine)));
}

TEST(CollectiveSum, OnABf16WireRoundsEachRanksPartOnce) {
  constexpr std::int64_t n = 5003;
  const auto rounded = [](int rank) {
    std::vector<float> values = addends(rank, n);
    for (float& value : values) value = rounded_to_bf16(value);
    return values;
  };
  for (const int ranks : {2, 3}) {
    const auto sum =
        sum_over_ranks(threads_transports(ranks), even_buckets({2000, 4000, n}, ranks),
                       settings_of(2000, SumOrder::sequence, DType::bf16), [](int rank) { return addends(rank, n); });
    EXPECT_EQ(bits_of(sum), bits_of(sequence_sum(ranks, n, rounded))) << ranks << " ranks";
  }
}

TEST(CollectiveSum, OfTheFirstBucketIsThereWhenAThirdHasStarted) {
  constexpr std::int64_t n = 3000;
  const auto mine = [](int rank) { return addends(rank, n); };
  const std::vector<float> expected = sequence_sum(3, n, mine);
  const std::vector<Bucket> buckets = even_buckets({1000, 2000, n}, 3);
  expect_all_done(run_ranks(threads_transports(3), [&](int rank, std::shared_ptr<Transport> transport) {
    RankMachine machine(std::move(transport), settings_of(1000));
    const Tensor arena = machine.put(mine(rank));
    for (const Bucket& bucket : buckets) machine.collective.start_reduce(arena, bucket);
    const auto begin = buckets[0].cuts[static_cast<std::size_t>(rank)];
    const auto end = buckets[0].cuts[static_cast<std::size_t>(rank) + 1];
    EXPECT_EQ(bits_of(values_of<float>(arena.slice(begin, end - begin))),
              bits_of({expected.begin() + begin, expected.begin() + end}));
    for (const Bucket& bucket : buckets) machine.collective.finish_reduce(bucket);
  }));
}

TEST(CollectiveSum, LeavesTheOtherPartsOfTheArenaAsTheyWere) {
  constexpr std::int64_t n = 3000;
  const Bucket bucket = even_bucket(0, 1000, 2000, 4);
  expect_all_done(run_ranks(threads_transports(4), [&](int rank, std::shared_ptr<Transport> transport) {
    RankMachine machine(std::move(transport), settings_of(1000));
    std::vector<float> before = addends(rank, n);
    const Tensor arena = machine.put(before);
    machine.collective.start_reduce(arena, bucket);
    machine.collective.finish_reduce(bucket);
    std::vector<float> after = values_of<float>(arena);
    for (auto i = static_cast<std::size_t>(bucket.cuts[static_cast<std::size_t>(rank)]);
         i < static_cast<std::size_t>(bucket.cuts[static_cast<std::size_t>(rank) + 1]); ++i) {
      before[i] = after[i] = 0;
    }
    EXPECT_EQ(bits_of(after), bits_of(before));
  }));
}

TEST(CollectiveSum, OfOneRankIsWhatItWasAndTakesNoMemory) {
  constexpr std::int64_t n = 1000;
  RankMachine machine(one_rank(), settings_of(n));
  const std::vector<float> before = addends(0, n);
  const Tensor arena = machine.put(before);
  const Bucket bucket = even_bucket(0, 0, n, 1);
  machine.collective.start_reduce(arena, bucket);
  machine.collective.finish_reduce(bucket);
  machine.collective.start_gather(arena, bucket);
  machine.collective.finish_gather(bucket);
  EXPECT_EQ(bits_of(values_of<float>(arena)), bits_of(before));
  EXPECT_EQ(Collective::plan(settings_of(n), World{}).bytes(), 0);
}

TEST(CollectiveSum, TakesMemoryForTheOwnPartsOfTwoBuckets) {
  World world;
  world.size = 4;
  // A quarter of 40,000 is 10,000: three blocks of 4096.
  EXPECT_EQ(Collective::plan(settings_of(40000), world).bytes(), 2 * 4 * 3 * 4096 * 4);
  EXPECT_EQ(Collective::plan(settings_of(40000, SumOrder::sequence, DType::bf16), world).bytes(),
            2 * (4 * 3 * 4096 + 40064) * 2);
}

}  // namespace
}  // namespace nll::test
