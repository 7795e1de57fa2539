#include "src/dist/faulty.h"

#include "tests/dist/collective_rig.h"

namespace nll::test {
namespace {

constexpr int ranks = 3, odd = 1;  // the rank with the fault
constexpr std::int64_t n = 999;

struct Job {
  std::vector<Outcome> outcomes;
  std::vector<std::vector<float>> weights{ranks};  // of each rank at the end
};

// Steps of a job that sums gradients, adds them to its own part of the weights and gathers those: four operations a
// step, the control exchange last.
Job run_job(const Fault& fault, int steps) {
  Job job;
  Transports transports = threads_transports(ranks);
  transports[odd] = faulty(transports[odd], fault);
  const std::vector<Bucket> buckets = even_buckets({500, n}, ranks);
  Collective::Settings settings;
  settings.largest_bucket = 500;
  job.outcomes = run_ranks(transports, [&](int rank, std::shared_ptr<Transport> transport) {
    RankMachine machine(std::move(transport), settings);
    Collective& collective = machine.collective;
    const Tensor weights = machine.put(std::vector<float>(n, 0.0f));
    for (int step = 0; step < steps; ++step) {
      collective.set_step(step);
      const Tensor gradients = machine.put(addends(rank + 10 * step, n));
      for (const Bucket& bucket : buckets) collective.start_reduce(gradients, bucket);
      for (const Bucket& bucket : buckets) {
        collective.finish_reduce(bucket);
        const auto begin = bucket.cuts[static_cast<std::size_t>(rank)];
        const auto own = bucket.cuts[static_cast<std::size_t>(rank) + 1] - begin;
        machine.backend.ops->add(weights.slice(begin, own), gradients.slice(begin, own));
      }
      collective.start_gather(weights, even_bucket(0, 0, 500, ranks));
      collective.finish_gather(even_bucket(0, 0, 500, ranks));
      ControlWord word;
      word.step = step;
      collective.control(word);
    }
    job.weights[static_cast<std::size_t>(rank)] = values_of<float>(weights.slice(0, 500));
  });
  return job;
}

TEST(Faulty, ADelayChangesNothing) {
  Fault fault;
  fault.kind = Fault::Kind::delay;
  fault.operation = 3;
  fault.seconds = 0.02;
  const Job late = run_job(fault, 2);
  fault.operation = 1000;
  const Job usual = run_job(fault, 2);
  expect_all_done(late.outcomes);
  expect_all_done(usual.outcomes);
  for (std::size_t r = 0; r < ranks; ++r) EXPECT_EQ(bits_of(late.weights[r]), bits_of(usual.weights[0]));
}

TEST(Faulty, ARankThatHangsIsNamedWithItsOperationAndStep) {
  const struct {
    std::int64_t operation;
    std::string text;
  } cases[] = {
      {5, "reduce-scatter of bucket 0 in step 1"}, {7, "all-gather of bucket 0 in step 1"}, {8, "control in step 1"}};
  for (const auto& one : cases) {
    std::stop_source release;
    Transports transports = threads_transports(ranks);
    Fault fault;
    fault.kind = Fault::Kind::hang;
    fault.operation = one.operation;
    fault.release = release.get_token();
    transports[odd] = faulty(transports[odd], fault);
    const Bucket bucket = even_bucket(0, 0, n, ranks);
    Collective::Settings settings;
    settings.largest_bucket = n;
    const auto outcomes = run_ranks(transports, [&](int rank, std::shared_ptr<Transport> transport) {
      try {
        RankMachine machine(transport, settings);
        const Tensor arena = machine.put(addends(rank, n));
        for (int step = 0; step < 3; ++step) {
          // The ranks are together by then.
          if (step == 1) transport->set_limit(0.5);
          machine.collective.set_step(step);
          machine.collective.start_reduce(arena, bucket);
          machine.collective.finish_reduce(bucket);
          machine.collective.barrier("barrier");
          machine.collective.start_gather(arena, bucket);
          machine.collective.finish_gather(bucket);
          ControlWord word;
          word.step = step;
          machine.collective.control(word);
        }
      } catch (const Error&) {
        release.request_stop();
        throw;
      }
    });
    for (const Outcome& outcome : outcomes) {
      EXPECT_EQ(outcome.exit, Exit::peer_lost);
      EXPECT_EQ(outcome.message, "rank 1 (this process): has not taken part in " + one.text + " for 0.5 s");
    }
  }
}

TEST(Faulty, AHangMayBeBounded) {
  Fault fault;
  fault.kind = Fault::Kind::hang;
  fault.operation = 2;
  fault.seconds = 0.02;
  expect_all_done(run_job(fault, 1).outcomes);
}

TEST(Faulty, ADroppedOperationIsNoticedAndTheRankNamed) {
  for (const std::int64_t operation : {1, 2, 3, 4}) {
    Fault fault;
    fault.kind = Fault::Kind::drop;
    fault.operation = operation;
    for (const Outcome& outcome : run_job(fault, 3).outcomes) {
      EXPECT_EQ(outcome.exit, Exit::peer_lost) << operation;
      EXPECT_EQ(outcome.message.find("rank 1 (this process)"), 0u) << outcome.message;
    }
  }
}

TEST(Faulty, AWeightThatIsCorruptedOnItsWayIsWrongOnThatRankOnly) {
  Fault fault;
  fault.kind = Fault::Kind::corrupt;
  fault.operation = 1000;
  const Job good = run_job(fault, 1);
  fault.operation = 3;
  const Job bad = run_job(fault, 1);
  expect_all_done(bad.outcomes);
  EXPECT_EQ(bits_of(bad.weights[0]), bits_of(good.weights[0]));
  EXPECT_EQ(bits_of(bad.weights[2]), bits_of(good.weights[0]));
  int different = 0;
  for (std::size_t i = 0; i < 500; ++i) {
    if (bits_of({bad.weights[odd][i]}) == bits_of({good.weights[odd][i]})) continue;
    ++different;
    EXPECT_EQ(bad.weights[odd][i], -good.weights[odd][i]);
  }
  EXPECT_EQ(different, 1);
}

// All ranks get the same wrong sum: nothing that compares replicas can find that.
TEST(Faulty, AGradientThatIsCorruptedOnItsWayChangesTheSumOnAllRanksAlike) {
  Fault fault;
  fault.kind = Fault::Kind::corrupt;
  fault.operation = 1000;
  const Job good = run_job(fault, 1);
  fault.operation = 2;
  const Job bad = run_job(fault, 1);
  expect_all_done(bad.outcomes);
  EXPECT_NE(bits_of(bad.weights[0]), bits_of(good.weights[0]));
  for (std::size_t r = 1; r < ranks; ++r) EXPECT_EQ(bits_of(bad.weights[r]), bits_of(bad.weights[0]));
}

TEST(Faulty, ACorruptedControlWordEndsTheJob) {
  Fault fault;
  fault.kind = Fault::Kind::corrupt;
  fault.operation = 4;
  for (const Outcome& outcome : run_job(fault, 3).outcomes) EXPECT_EQ(outcome.exit, Exit::peer_lost);
}

TEST(Faulty, CorruptsWhatArrivesAndNothingElse) {
  Fault fault;
  fault.kind = Fault::Kind::corrupt;
  Transports transports = threads_transports(2);
  transports[0] = faulty(transports[0], fault);
  expect_all_done(run_ranks(transports, [](int rank, std::shared_ptr<Transport> transport) {
    std::vector<float> numbers = {1, 2, 3};
    // The first operation of rank 0 is one in which nothing arrives there.
    transport->wait(transport->broadcast({numbers.data(), DType::f32, {3}}, 0, {"broadcast"}));
    EXPECT_EQ(numbers, (std::vector<float>{1, 2, 3})) << rank;
  }));
}

}  // namespace
}  // namespace nll::test
