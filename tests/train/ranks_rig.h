// Whole runs on several ranks, which are threads of the test.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "src/dist/transport.h"
#include "tests/train/rig.h"

namespace nll::test {

struct RanksRequest {
  ResumePolicy resume = ResumePolicy::refuse;
  std::int64_t step_limit = 0;
  // Rank `stopping` asks to stop once it was asked `stop_after` times; -1: nobody does.
  int stopping = 0;
  std::int64_t stop_after = -1;
  double limit_seconds = 60;
  // What stands between a rank and the others; for faults.
  std::function<std::shared_ptr<Transport>(int rank, std::shared_ptr<Transport>)> between{};
  // What a rank's config has that the others' have not.
  std::function<void(int rank, Config& config)> differs{};
};

// Runs the config on `ranks` ranks of one thread each; the result of each.
std::vector<RunResult> run_ranks(const Config& config, int ranks, const RanksRequest& request = {});

// The exit that all ranks had; a failure where they had not.
Exit exit_of(const std::vector<RunResult>& results);

}  // namespace nll::test
