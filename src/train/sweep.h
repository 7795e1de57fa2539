// A sweep: every combination of some keys' values as one run, each in its own folder, one after the other. What is done
// is read from the folders, so an interrupted sweep goes on where it was.
#pragma once
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "src/config/config.h"
#include "src/report/console.h"
#include "src/train/run.h"

namespace nll {

struct GridKey {
  std::string key;
  std::vector<std::string> values;
};
// "a.b=1,2,3"; commas in quotes and brackets do not part values. Throws Error(usage).
GridKey parse_grid(const std::string& argument);

struct SweepRun {
  std::string name;                 // of its folder, from its values: "layers=2,learning_rate=0.001"
  std::vector<std::string> values;  // one for each key of the grid
  Config config;
};
// All combinations, the last key's values changing fastest, in folders below `directory` (empty: the config's
// run.directory with "_sweep" behind it). Throws Error(usage) for whatever is wrong with one of them.
std::vector<SweepRun> plan_sweep(const std::string& config, const std::vector<std::string>& overrides,
                                 const std::vector<GridKey>& grid, std::string& directory);

struct SweepResult {
  std::string state = "waiting";  // done, diverged, failed, stopped
  std::string message;            // of a run that failed
  Exit exit = Exit::done;
  double loss = 0, bits_per_byte = 0, tokens_per_second = 0, seconds = 0;  // NaN: not measured
};

struct SweepRequest {
  std::vector<GridKey> grid;
  std::vector<SweepRun> runs;
  std::string directory;
  std::string command;  // what to type to go on
  std::string cache_folder;
  double probe_seconds = 0.3;
  std::function<bool()> stop_requested;
};

// Runs what is not done yet and writes directory/sweep.json after each. A run that fails is noted and the others go on;
// one that diverged is not tried again. Throws Error(usage) for a folder that holds a run of another config.
std::vector<SweepResult> run_sweep(const SweepRequest& request, Console& console);

// done; stopped when a run is stopped or waiting; else the code of the first run that failed.
Exit exit_of(const std::vector<SweepResult>& results);
std::string sweep_json(const SweepRequest& request, const std::vector<SweepResult>& results);
std::string sweep_table(const SweepRequest& request, const std::vector<SweepResult>& results);

}  // namespace nll
