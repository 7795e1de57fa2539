#include "tests/checkpoint/rank_job.h"

#include <thread>

#include "src/dist/threads.h"

namespace nll::testing {
namespace {

// The transport's ranks, with a host each.
class RanksOnHosts final : public Ranks {
 public:
  explicit RanksOnHosts(Transport& transport) : ranks_(transport), world_(transport.world()) {
    world_.host = "node" + std::to_string(world_.rank);
  }
  const World& world() const override { return world_; }
  std::vector<std::string> exchange(const std::string& mine, const char* name) override {
    return ranks_.exchange(mine, name);
  }
  void together(const char* name, const std::function<void()>& work) override { ranks_.together(name, work); }

 private:
  TransportRanks ranks_;
  World world_;
};

}  // namespace

std::vector<RankOutcome> save_by_ranks(MemoryFileOps& disk, const std::string& run, const SlicedCheckpoint& sample,
                                       int faulty, const FaultPlan& plan, MemoryFileOps* own_disk) {
  std::vector<RankOutcome> outcomes(static_cast<std::size_t>(sample.ranks()));
  std::vector<std::shared_ptr<Transport>> transports = threads_transports(sample.ranks());
  std::mutex mutex;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < sample.ranks(); ++rank) {
    threads.emplace_back([&, rank] {
      const auto self = static_cast<std::size_t>(rank);
      RankOutcome& outcome = outcomes[self];
      transports[self]->set_limit(60);  // never reached: a rank that dies leaves
      RankFileOps files(own_disk != nullptr && rank + 1 == sample.ranks() ? *own_disk : disk, mutex);
      if (rank == faulty) files.plan(plan);
      try {
        CheckpointStore store = rank == 0 ? CheckpointStore(files, run) : CheckpointStore::of_other_rank(files, run);
        RanksOnHosts ranks(*transports[self]);
        outcome.folder = store.save(sample.content(rank), ranks);
      } catch (const Error& error) {
        outcome.exit = error.exit();
        outcome.message = error.what();
        outcome.hint = error.hint();
      } catch (const Killed&) {
        outcome.killed = true;
      }
      outcome.log = files.log();
      transports[self].reset();
    });
  }
  for (std::thread& thread : threads) thread.join();
  return outcomes;
}

}  // namespace nll::testing
