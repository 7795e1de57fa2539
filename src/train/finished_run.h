// What a run's folder says of how far it got, and what a finished one measured.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "src/config/config.h"

namespace nll {

struct FinishedRun {
  Config config;
  std::int64_t step = 0;               // last one that was recorded
  bool complete = false;               // the schedule came to its end
  std::int64_t diverged_in_a_row = 0;  // non-finite steps that the run ended with
  std::int64_t parameters = 0, without_tables = 0, tokens = 0;
  double seconds = 0;                  // of training
  double loss = 0, bits_per_byte = 0;  // on held-out text after the last step; NaN: not measured
  bool diverged() const { return !complete && diverged_in_a_row >= config.log.nonfinite_limit; }
};

// Throws Error(no_checkpoint) for a folder that holds no run with a config, Error(usage) for a config that is none.
FinishedRun read_finished_run(const std::string& folder, const std::function<void(const std::string&)>& warn);

}  // namespace nll
