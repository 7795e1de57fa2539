// What ranks agree on: gathered and broadcast tensors, texts, the control exchange and failures that are everybody's.
#include "tests/dist/collective_rig.h"

namespace nll::test {
namespace {

// Carries texts, and loses tensors without noticing: what a library does that pairs operations by their order alone.
class Careless final : public Transport {
 public:
  explicit Careless(std::shared_ptr<Transport> inner) : inner_(std::move(inner)) {}
  const World& world() const override { return inner_->world(); }
  std::string name() const override { return "careless"; }
  bool device_memory() const override { return false; }
  Ticket all_to_all(Tensor, Tensor, std::span<const std::int64_t>, const Operation&) override { return ++started_; }
  Ticket all_gather(Tensor, std::span<const std::int64_t>, const Operation&) override { return ++started_; }
  Ticket broadcast(Tensor, int, const Operation&) override { return ++started_; }
  void wait(Ticket) override {}
  void progress() override {}
  std::vector<std::uint8_t> exchange(std::span<const std::uint8_t> mine, const Operation& operation) override {
    return inner_->exchange(mine, operation);
  }
  void abort(Exit exit) noexcept override { inner_->abort(exit); }

 private:
  std::shared_ptr<Transport> inner_;
  Ticket started_ = 0;
};

template <class T>
void expect_gathered(Collective& collective, RankMachine& machine, int rank, const Bucket& bucket, std::int64_t n) {
  std::vector<T> all(static_cast<std::size_t>(n)), mine(all.size());
  for (std::int64_t i = 0; i < n; ++i) {
    const auto at = static_cast<std::size_t>(i), r = static_cast<std::size_t>(rank);
    all[at] = static_cast<T>(3 * i + 1);
    const bool travels = i >= bucket.begin() && i < bucket.end();
    const bool own = i >= bucket.cuts[r] && i < bucket.cuts[r + 1];
    mine[at] = !travels || own ? all[at] : T{};
  }
  const Tensor tensor = machine.put(mine);
  collective.start_gather(tensor, bucket);
  collective.finish_gather(bucket);
  EXPECT_EQ(values_of<T>(tensor), all);
}

TEST(Collective, GathersTensorsOfAnyType) {
  for (const int ranks : {1, 2, 3, 5}) {
    expect_all_done(run_ranks(threads_transports(ranks), [&](int rank, std::shared_ptr<Transport> transport) {
      RankMachine machine(std::move(transport), {});
      for (const std::int64_t n : {100, 7, 2, 1}) {
        const Bucket bucket = even_bucket(4, n > 10 ? 3 : 0, n, ranks);
        expect_gathered<float>(machine.collective, machine, rank, bucket, n);
        expect_gathered<double>(machine.collective, machine, rank, bucket, n);
        expect_gathered<std::int32_t>(machine.collective, machine, rank, bucket, n);
        expect_gathered<std::uint8_t>(machine.collective, machine, rank, bucket, n);
      }
    }));
  }
}

TEST(Collective, HasManyGathersOnTheirWayAtOnceAndSumsBetweenThem) {
  constexpr std::int64_t n = 4000;
  const std::vector<Bucket> buckets = even_buckets({1000, 2000, 3000, n}, 3);
  Collective::Settings settings;
  settings.largest_bucket = 1000;
  expect_all_done(run_ranks(threads_transports(3), [&](int rank, std::shared_ptr<Transport> transport) {
    RankMachine machine(std::move(transport), settings);
    Collective& collective = machine.collective;
    const std::vector<float> numbers = addends(7, n);
    std::vector<float> known(n, 0.0f);
    for (const Bucket& bucket : buckets) {
      for (auto i = bucket.cuts[static_cast<std::size_t>(rank)]; i < bucket.cuts[static_cast<std::size_t>(rank) + 1];
           ++i) {
        known[static_cast<std::size_t>(i)] = numbers[static_cast<std::size_t>(i)];
      }
    }
    const Tensor weights = machine.put(known), gradients = machine.put(std::vector<float>(n, 1.0f));
    for (const Bucket& bucket : buckets) collective.start_gather(weights, bucket);
    collective.start_reduce(gradients, buckets[0]);
    collective.progress();
    collective.finish_gather(buckets[3]);
    collective.finish_reduce(buckets[0]);
    for (int k = 0; k < 3; ++k) collective.finish_gather(buckets[static_cast<std::size_t>(k)]);
    EXPECT_EQ(bits_of(values_of<float>(weights)), bits_of(numbers));
    EXPECT_EQ(gradients.as<float>()[buckets[0].cuts[static_cast<std::size_t>(rank)]], 3.0f);
  }));
}

TEST(Collective, BroadcastsFromAnyRank) {
  expect_all_done(run_ranks(threads_transports(3), [](int rank, std::shared_ptr<Transport> transport) {
    RankMachine machine(std::move(transport), {});
    for (int root = 0; root < 3; ++root) {
      const Tensor numbers = machine.put(addends(rank, 1000));
      const Tensor bytes = machine.put(std::vector<std::uint8_t>(5, static_cast<std::uint8_t>(rank)));
      machine.collective.broadcast(numbers, root);
      machine.collective.broadcast(bytes, root);
      machine.collective.barrier("test");
      EXPECT_EQ(bits_of(values_of<float>(numbers)), bits_of(addends(root, 1000)));
      EXPECT_EQ(values_of<std::uint8_t>(bytes), std::vector<std::uint8_t>(5, static_cast<std::uint8_t>(root)));
    }
  }));
}

TEST(Collective, ExchangesTextsOfAnyLength) {
  for (const int ranks : {1, 4}) {
    std::vector<std::string> expected;
    for (int r = 0; r < ranks; ++r) expected.push_back(std::string(static_cast<std::size_t>(r * r), 'x') + '\0');
    expected[0] = "";
    expect_all_done(run_ranks(threads_transports(ranks), [&](int rank, std::shared_ptr<Transport> transport) {
      RankMachine machine(std::move(transport), {});
      EXPECT_EQ(machine.collective.exchange(expected[static_cast<std::size_t>(rank)], "texts"), expected);
      EXPECT_EQ(machine.collective.exchange("", "nothing"), std::vector<std::string>(expected.size()));
    }));
  }
}

TEST(Control, AddsWhatRanksCountInTheirOrder) {
  for (const int ranks : {1, 3}) {
    double sum = 0;
    for (int r = 0; r < ranks; ++r) sum += 0.1 * (r + 1);
    expect_all_done(run_ranks(threads_transports(ranks), [&](int rank, std::shared_ptr<Transport> transport) {
      RankMachine machine(std::move(transport), {});
      ControlWord word;
      word.step = 5;
      word.sums[0] = 0.1 * (rank + 1);
      word.sums[7] = rank;
      const Agreement all = machine.collective.control(word);
      EXPECT_EQ(all.sums[0], sum);
      EXPECT_EQ(all.sums[7], ranks == 1 ? 0 : 3);
      EXPECT_FALSE(all.stop);
      EXPECT_TRUE(all.finite);
      ASSERT_EQ(all.words.size(), static_cast<std::size_t>(ranks));
      for (int r = 0; r < ranks; ++r) EXPECT_EQ(all.words[static_cast<std::size_t>(r)].sums[7], r);
    }));
  }
}

TEST(Control, TellsAllOfAStopAndOfAValueThatIsNotFiniteOnAnyRank) {
  for (int which = 0; which < 3; ++which) {
    expect_all_done(run_ranks(threads_transports(3), [&](int rank, std::shared_ptr<Transport> transport) {
      RankMachine machine(std::move(transport), {});
      ControlWord word;
      word.stop = rank == which;
      EXPECT_TRUE(machine.collective.control(word).stop);
      word.stop = 0;
      word.finite = rank != which;
      const Agreement all = machine.collective.control(word);
      EXPECT_FALSE(all.stop);
      EXPECT_FALSE(all.finite);
    }));
  }
}

TEST(Control, NamesTheRankThatIsAtAnotherStep) {
  const auto outcomes = run_ranks(threads_transports(4), [](int rank, std::shared_ptr<Transport> transport) {
    RankMachine machine(std::move(transport), {});
    ControlWord word;
    word.step = rank == 2 ? 8 : 7;
    machine.collective.control(word);
  });
  for (const Outcome& outcome : outcomes) {
    EXPECT_EQ(outcome.exit, Exit::peer_lost);
    EXPECT_TRUE(outcome.agreed);
    EXPECT_EQ(outcome.message,
              "rank 2 (this process) is at step 8 after 1 operations, rank 0 (this process) at step 7 after 1 (an "
              "operation was skipped or repeated)");
  }
}

TEST(Control, NamesTheRankThatSkippedAnOperationOfALibraryThatDoesNotNotice) {
  for (const int odd : {0, 1, 3}) {
    const auto outcomes = run_ranks(threads_transports(4), [&](int rank, std::shared_ptr<Transport> transport) {
      RankMachine machine(std::make_shared<Careless>(std::move(transport)), {});
      const Tensor weights = machine.put(addends(rank, 100));
      for (int step = 0; step < 3; ++step) {
        if (rank != odd || step != 1) machine.collective.broadcast(weights, 0);
        ControlWord word;
        word.step = step;
        machine.collective.control(word);
        EXPECT_LT(step, 1);
      }
    });
    for (const Outcome& outcome : outcomes) {
      EXPECT_EQ(outcome.exit, Exit::peer_lost);
      EXPECT_EQ(outcome.message.find("rank " + std::to_string(odd) + " (this process) is at step 1 after 3 operations"),
                0u)
          << outcome.message;
    }
  }
}

TEST(Control, BelievesTheSideOfRankZeroWhereThereIsNoMajority) {
  const auto outcomes = run_ranks(threads_transports(4), [](int rank, std::shared_ptr<Transport> transport) {
    RankMachine machine(std::move(transport), {});
    ControlWord word;
    word.step = rank % 2 == 0 ? 7 : 9;
    machine.collective.control(word);
  });
  for (const Outcome& outcome : outcomes) {
    EXPECT_EQ(outcome.message.find("rank 1 (this process), rank 3 (this process) are at step 9"), 0u)
        << outcome.message;
  }
}

TEST(Together, FailsOnAllRanksWithOneMessageWhereItFailsOnOne) {
  const auto outcomes = run_ranks(threads_transports(3), [](int rank, std::shared_ptr<Transport> transport) {
    RankMachine machine(std::move(transport), {});
    machine.collective.together("a good phase", [] {});
    machine.collective.together("reading the data", [&] {
      if (rank == 1) throw Error(Exit::bad_data, "shard.bin: token 50257 (expected below 50257)", "tokenize again");
    });
    ADD_FAILURE() << "rank " << rank << " went on";
  });
  for (const Outcome& outcome : outcomes) {
    EXPECT_EQ(outcome.exit, Exit::bad_data);
    EXPECT_TRUE(outcome.agreed);
    EXPECT_EQ(outcome.message, "[rank 1 this process] shard.bin: token 50257 (expected below 50257)");
    EXPECT_EQ(outcome.hint, "tokenize again");
  }
}

TEST(Together, SaysItOnceWhereAllRanksFailAlike) {
  const auto outcomes = run_ranks(threads_transports(3), [](int, std::shared_ptr<Transport> transport) {
    RankMachine machine(std::move(transport), {});
    machine.collective.together("reading the config", [] { throw Error(Exit::usage, "batch: too small"); });
  });
  for (const Outcome& outcome : outcomes) EXPECT_EQ(outcome.message, "batch: too small");
}

TEST(OneRank, HasNobodyToWaitFor) {
  RankMachine machine(one_rank(), {});
  EXPECT_TRUE(machine.collective.alone());
  machine.collective.barrier("test");
  machine.collective.progress();
  EXPECT_THROW(machine.collective.together("work", [] { throw Error(Exit::io, "full"); }), Error);
  const std::shared_ptr<Transport> transport = one_rank();
  std::vector<float> sent = {1, 2}, received(2);
  transport->wait(transport->all_to_all({received.data(), DType::f32, {1, 2}}, {sent.data(), DType::f32, {2}},
                                        std::vector<std::int64_t>{0, 2}, {}));
  EXPECT_EQ(received, sent);
  EXPECT_EQ(transport->exchange(std::vector<std::uint8_t>{7, 8}, {}), (std::vector<std::uint8_t>{7, 8}));
}

}  // namespace
}  // namespace nll::test
