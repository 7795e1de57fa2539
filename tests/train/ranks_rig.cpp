#include "tests/train/ranks_rig.h"

#include <gtest/gtest.h>

#include <thread>

#include "src/dist/threads.h"

namespace nll::test {

std::vector<RunResult> run_ranks(const Config& config, int ranks, const RanksRequest& asked) {
  const std::vector<std::shared_ptr<Transport>> transports = threads_transports(ranks);
  std::vector<RunResult> results(static_cast<std::size_t>(ranks));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      RunRequest request;
      request.config = config;
      request.config.cpu.threads = 1;
      if (asked.differs) asked.differs(rank, request.config);
      request.resume = asked.resume;
      request.step_limit = asked.step_limit;
      request.resume_command = "nll train CONFIG --resume auto";
      request.probe_seconds = 0;
      request.transport = transports[static_cast<std::size_t>(rank)];
      if (asked.between) request.transport = asked.between(rank, request.transport);
      request.transport->set_limit(asked.limit_seconds);
      std::int64_t questions = 0;
      request.stop_requested = [&] {
        return rank == asked.stopping && asked.stop_after >= 0 && ++questions > asked.stop_after;
      };
      Console console(false);
      RunResult& result = results[static_cast<std::size_t>(rank)];
      try {
        result.exit = run_training(request, console);
      } catch (const Error& error) {
        result.exit = error.exit();
        result.error = error.what();
        result.hint = error.hint();
        request.transport->abort(error.exit());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return results;
}

Exit exit_of(const std::vector<RunResult>& results) {
  for (const RunResult& result : results) EXPECT_EQ(result.exit, results.front().exit) << result.error;
  return results.front().exit;
}

}  // namespace nll::test
