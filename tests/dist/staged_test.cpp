// Staging is the same on any device, so a CPU shows it.
#include "src/dist/staged.h"

#include "tests/dist/collective_rig.h"

namespace nll::test {
namespace {

constexpr int ranks = 3;
constexpr std::int64_t n = 5000;

struct Result {
  std::vector<float> sums;                  // the own part
  std::vector<float> gathered, overlapped;  // whole arenas
  std::vector<float> broadcast;
};

std::vector<Result> run(bool stage) {
  std::vector<Result> results(ranks);
  const std::vector<Bucket> buckets = even_buckets({1, 2000, 3000, n}, ranks);
  Collective::Settings settings;
  settings.largest_bucket = 2000;
  expect_all_done(run_ranks(threads_transports(ranks), [&](int rank, std::shared_ptr<Transport> transport) {
    Backend backend = make_backend("cpu", cpu_options(1));
    if (stage) {
      transport = staged(transport, *backend.device);
      EXPECT_TRUE(transport->device_memory());
      EXPECT_EQ(transport->name(), "threads through the host's memory");
    }
    RankMachine machine(transport, settings);
    Collective& collective = machine.collective;
    Result& result = results[static_cast<std::size_t>(rank)];
    for (int round = 0; round < 2; ++round) {
      const Tensor gradients = machine.put(addends(rank + round, n));
      for (const Bucket& bucket : buckets) collective.start_reduce(gradients, bucket);
      for (const Bucket& bucket : buckets) collective.finish_reduce(bucket);
      for (const Bucket& bucket : buckets) {
        const std::int64_t begin = bucket.cuts[static_cast<std::size_t>(rank)];
        const Tensor own = gradients.slice(begin, bucket.cuts[static_cast<std::size_t>(rank) + 1] - begin);
        const std::vector<float> values = values_of<float>(own);
        result.sums.insert(result.sums.end(), values.begin(), values.end());
      }
      for (const Bucket& bucket : buckets) collective.start_gather(gradients, bucket);
      const Tensor other = machine.put(addends(rank + 5, n));
      collective.start_gather(other, buckets[0]);
      for (const Bucket& bucket : buckets) collective.finish_gather(bucket);
      collective.finish_gather(buckets[0]);
      result.gathered = values_of<float>(gradients);
      result.overlapped = values_of<float>(other);
      const Tensor shared = machine.put(addends(rank, 700));
      collective.broadcast(shared, round);
      collective.barrier("barrier");
      result.broadcast = values_of<float>(shared);
    }
  }));
  return results;
}

TEST(Staged, BringsTheSameBitsAsTheTransportBelow) {
  const std::vector<Result> plain = run(false), through_host = run(true);
  for (std::size_t r = 0; r < ranks; ++r) {
    EXPECT_EQ(bits_of(through_host[r].sums), bits_of(plain[r].sums)) << r;
    EXPECT_EQ(bits_of(through_host[r].gathered), bits_of(plain[r].gathered)) << r;
    EXPECT_EQ(bits_of(through_host[r].overlapped), bits_of(plain[r].overlapped)) << r;
    EXPECT_EQ(bits_of(through_host[r].broadcast), bits_of(plain[r].broadcast)) << r;
    EXPECT_EQ(bits_of(through_host[r].broadcast), bits_of(addends(1, 700))) << r;
  }
}

TEST(Staged, WaitsNoLongerThanItsOwnLimit) {
  const auto outcomes = run_ranks(threads_transports(2), [&](int rank, std::shared_ptr<Transport> transport) {
    if (rank == 1) return;
    Backend backend = make_backend("cpu", cpu_options(1));
    const std::shared_ptr<Transport> through_host = staged(transport, *backend.device);
    EXPECT_EQ(through_host->limit_seconds(), transport->limit_seconds());
    through_host->set_limit(0.2);
    std::vector<float> numbers(10);
    through_host->wait(through_host->broadcast({numbers.data(), DType::f32, {10}}, 1, {"broadcast", 3}));
  });
  EXPECT_EQ(outcomes[0].exit, Exit::peer_lost);
  EXPECT_EQ(outcomes[0].message, "rank 1 (this process): has not taken part in broadcast in step 3 for 0.2 s");
}

}  // namespace
}  // namespace nll::test
