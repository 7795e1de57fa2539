// Runs on several ranks in which one of them goes wrong.
#include <gtest/gtest.h>

#include <filesystem>
#include <mutex>
#include <string>

#include "src/dist/faulty.h"
#include "tests/train/ranks_rig.h"

namespace nll::test {

namespace {

struct Counted {
  std::string name;
  std::int64_t step, size;
};

// Notes every operation of a rank, so that a fault can be put into a certain one.
class Recorder final : public Transport {
 public:
  Recorder(std::shared_ptr<Transport> inner, std::vector<Counted>& list) : inner_(std::move(inner)), list_(list) {}
  const World& world() const override { return inner_->world(); }
  std::string name() const override { return inner_->name(); }
  bool device_memory() const override { return false; }
  Ticket all_to_all(Tensor received, Tensor send, std::span<const std::int64_t> cuts,
                    const Operation& operation) override {
    note(operation, send.size());
    return inner_->all_to_all(received, send, cuts, operation);
  }
  Ticket all_gather(Tensor data, std::span<const std::int64_t> cuts, const Operation& operation) override {
    note(operation, data.size());
    return inner_->all_gather(data, cuts, operation);
  }
  Ticket broadcast(Tensor data, int root, const Operation& operation) override {
    note(operation, data.size());
    return inner_->broadcast(data, root, operation);
  }
  void wait(Ticket ticket) override { inner_->wait(ticket); }
  void progress() override { inner_->progress(); }
  std::vector<std::uint8_t> exchange(std::span<const std::uint8_t> mine, const Operation& operation) override {
    note(operation, static_cast<std::int64_t>(mine.size()));
    return inner_->exchange(mine, operation);
  }
  void abort(Exit exit) noexcept override { inner_->abort(exit); }

 private:
  void note(const Operation& operation, std::int64_t size) { list_.push_back({operation.name, operation.step, size}); }
  std::shared_ptr<Transport> inner_;
  std::vector<Counted>& list_;
};

// A whole run of two ranks of which the second has a fault in the operation `name` of `step`, the one that moves most.
class RanksFaults : public ::testing::Test {
 protected:
  RanksFaults() {
    write_corpus(folder_ / "data", 2000, 61);
    config_ = tiny_config(folder_);
    config_.schedule.steps = 6;
    config_.evaluation.every_steps = 0;
    config_.checkpoint.every_steps = 2;
  }

  std::int64_t operation(const std::string& name, std::int64_t step, int ranks = 2) {
    std::vector<Counted> list;
    Config config = config_;
    config.run.directory = folder_ / "recorded";
    exit_of(run_ranks(config, ranks, {.between = [&](int rank, std::shared_ptr<Transport> inner) {
                        return rank == 1 ? std::make_shared<Recorder>(inner, list) : inner;
                      }}));
    std::int64_t found = 0, size = -1;
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (list[i].name != name || list[i].step != step || list[i].size <= size) continue;
      found = static_cast<std::int64_t>(i) + 1;
      size = list[i].size;
    }
    EXPECT_GT(found, 0) << name;
    return found;
  }

  std::vector<RunResult> run_with(Fault fault, double limit_seconds = 60, int ranks = 2) {
    return run_ranks(config_, ranks,
                     {.limit_seconds = limit_seconds, .between = [&](int rank, std::shared_ptr<Transport> inner) {
                        return rank == 1 ? faulty(inner, fault) : inner;
                      }});
  }

  static void expect_all(const std::vector<RunResult>& results, Exit exit, const std::string& part) {
    for (const RunResult& result : results) {
      EXPECT_EQ(result.exit, exit) << result.error;
      EXPECT_NE(result.error.find(part), std::string::npos) << result.error;
    }
  }

  Folder folder_;
  Config config_;
};

}  // namespace

// run_ranks() joins every thread, so that the end of these tests shows that none stays behind.
TEST_F(RanksFaults, ARankThatHangsIsNamedWithTheOperationAndStep) {
  const Fault fault{.kind = Fault::Kind::hang, .operation = operation("reduce-scatter", 3), .seconds = 1.5};
  expect_all(run_with(fault, 0.5), Exit::peer_lost,
             "rank 1 (this process): has not taken part in reduce-scatter of bucket 0 in step 3 for 0.5 s");
}

TEST_F(RanksFaults, ARankThatLeavesOutAnOperationIsFoundWithoutWaitingForTheLimit) {
  for (const char* name : {"reduce-scatter", "all-gather"}) {
    config_.run.directory = folder_ / name;
    // No step would end within the hour if this were noticed by waiting.
    const auto results = run_with({.kind = Fault::Kind::drop, .operation = operation(name, 3)}, 3600);
    expect_all(results, Exit::peer_lost, "rank 1 (this process)");
    std::filesystem::remove_all(folder_ / "recorded");
  }
}

TEST_F(RanksFaults, AFlippedBitInAReplicaIsFoundAtTheNextComparison) {
  config_.dist.shard_optimizer = false;  // sharded, the next gather would put it right
  config_.dist.check_replicas_every = 4;
  const Fault fault{.kind = Fault::Kind::corrupt, .operation = operation("all-gather", 1)};
  expect_all(run_with(fault), Exit::diverged, "replicas at step 4: the weights of rank 0");
}

TEST_F(RanksFaults, OfThreeReplicasTheOddOneIsNamed) {
  config_.batch.tokens_per_step = 6 * config_.model.context;
  config_.batch.sequences = 1;
  config_.dist.check_replicas_every = 2;
  const Fault fault{.kind = Fault::Kind::corrupt, .operation = operation("all-gather", 1, 3)};
  expect_all(run_with(fault, 60, 3), Exit::diverged, "the weights of rank 1 this process are not those of the other 2");
}

TEST_F(RanksFaults, AFlippedBitIsFoundByNothingElse) {
  const Fault fault{.kind = Fault::Kind::corrupt, .operation = operation("all-gather", 1)};
  EXPECT_EQ(exit_of(run_with(fault)), Exit::done);
}

TEST_F(RanksFaults, ALongSaveOfOneRankDoesNotEndTheRun) {
  // Longer than the limit of a step, and shorter than that of a save.
  const Fault fault{.kind = Fault::Kind::delay, .operation = operation("the end of a save", 3), .seconds = 0.6};
  EXPECT_EQ(exit_of(run_with(fault, 0.4)), Exit::done);
}

TEST_F(RanksFaults, FewerWindowsThanRanksAndMoreRanksThanNormBlocksTrain) {
  config_.model = {.layers = 1, .heads = 1, .width = 8, .context = 16, .vocabulary = 61, .dropout = 0.1};
  config_.batch.tokens_per_step = 8 * config_.model.context;
  config_.batch.sequences = 1;
  config_.evaluation.every_steps = 3;
  config_.evaluation.tokens = 2 * config_.model.context;
  EXPECT_EQ(exit_of(run_ranks(config_, 8)), Exit::done);
}

TEST_F(RanksFaults, AConfigOrTextOfItsOwnOnOneRankIsRefusedByItsName) {
  config_.batch.sequences = 2;
  RanksRequest request;
  request.differs = [](int rank, Config& own) {
    if (rank == 1) own.optimizer.learning_rate *= 2;
  };
  for (const RunResult& result : run_ranks(config_, 4, request)) {
    EXPECT_EQ(result.exit, Exit::usage);
    EXPECT_EQ(result.error.find("config: not the same on all ranks: rank 1 "), 0u) << result.error;
  }
  request.differs = [&](int rank, Config& own) {
    if (rank == 1) own.data.train = {folder_ / "missing"};
  };
  for (const RunResult& result : run_ranks(config_, 2, request)) {
    EXPECT_NE(result.exit, Exit::done);
    EXPECT_EQ(result.error.find("[rank 1 "), 0u) << result.error;
  }
  EXPECT_FALSE(std::filesystem::exists(config_.run.directory));
}

}  // namespace nll::test
