// A run from its config to its exit code: which folder, fresh or resumed, and what is printed around the loop.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/check.h"
#include "src/config/config.h"
#include "src/dist/transport.h"
#include "src/report/console.h"

namespace nll {

enum class ResumePolicy {
  refuse,     // no --resume given: a folder that holds a run is left alone
  never,      // --resume never: the same, said aloud
  automatic,  // --resume auto: the newest intact checkpoint, or a fresh start where there is no run yet
  path,       // --resume PATH: that checkpoint
};

struct RunRequest {
  Config config;
  ResumePolicy resume = ResumePolicy::refuse;
  std::string resume_path;
  std::int64_t step_limit = 0;           // 0: to the end of the schedule
  std::string resume_command;            // what to type to go on; printed when the run stops
  std::string cache_folder;              // of the user, for what was measured of a GPU; empty: none
  double probe_seconds = 0.3;            // for measuring what the machine can do; 0: no share of peak is shown
  std::function<bool()> stop_requested;  // asked often; from a signal handler's flag
  std::shared_ptr<Transport> transport;  // to the other ranks of the job; empty: there are none
};

// Returns Exit::done or Exit::stopped; throws Error for everything else, an AgreedError where all ranks throw it.
// On several ranks all call this with the same request; `console` of a rank other than 0 is not for people.
Exit run_training(const RunRequest& request, Console& console);

}  // namespace nll
