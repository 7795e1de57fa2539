#include "src/train/sweep.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <limits>
#include <new>
#include <optional>

#include "src/checkpoint/checkpoint.h"
#include "src/model/parameters.h"
#include "src/train/finished_run.h"
#include "src/train/run_folder.h"

namespace nll {

namespace {

namespace fs = std::filesystem;

constexpr double not_measured = std::numeric_limits<double>::quiet_NaN();

// What a folder may say differently of the same run: where it is, and what changes nothing of what it learns.
bool harmless(const std::string& difference) {
  for (const char* section : {"run.directory:", "log.", "checkpoint.", "sample.", "cpu."}) {
    if (difference.starts_with(section)) return true;
  }
  return false;
}

// How far the run in this folder got; nothing where none began.
std::optional<FinishedRun> found_in(const SweepRun& run, Console& console) {
  const std::string& folder = run.config.run.directory;
  if (!fs::exists(folder + "/config.json") || !fs::exists(folder + "/metrics.jsonl")) return std::nullopt;
  FinishedRun found = read_finished_run(folder, [&](const std::string& line) { console.warning(line); });
  for (const std::string& difference : differences(found.config, run.config)) {
    if (harmless(difference)) continue;
    throw Error(Exit::usage, fmt::format("{}: holds a run of another config ({})", folder, difference),
                "name another folder for this sweep: --directory NEW");
  }
  return found;
}

void take(SweepResult& result, const FinishedRun& found) {
  result.loss = found.loss;
  result.bits_per_byte = found.bits_per_byte;
  result.seconds = found.seconds;
  result.tokens_per_second = found.seconds > 0 ? static_cast<double>(found.tokens) / found.seconds : not_measured;
  if (found.complete) {
    result.state = "done";
    result.exit = Exit::done;
  } else if (found.diverged()) {
    result.state = "diverged";
    result.exit = Exit::diverged;
    if (result.message.empty()) result.message = fmt::format("diverged at step {}", found.step);
  }
}

// Of what it costs, in any unit: parameters times tokens.
double cost(const Config& config) {
  return static_cast<double>(ParameterTable::gpt2(config.model).parameters()) *
         static_cast<double>(config.batch.tokens_per_step) * static_cast<double>(config.schedule.steps);
}

void train_one(const SweepRequest& request, const SweepRun& run, SweepResult& result, Console& console) {
  RunRequest one;
  one.config = run.config;
  one.resume = ResumePolicy::automatic;
  one.resume_command = request.command;
  one.cache_folder = request.cache_folder;
  one.probe_seconds = request.probe_seconds;
  one.stop_requested = request.stop_requested;
  const auto failed = [&](Exit exit, const std::string& message) {
    result.state = exit == Exit::diverged ? "diverged" : "failed";
    result.message = message;
    result.exit = exit;
    console.finish_live();
    console.warning(fmt::format("{}: {}: {}", run.name, result.state, message));
  };
  try {
    result.exit = run_training(one, console);
    result.state = result.exit == Exit::stopped ? "stopped" : "done";
  } catch (const Error& error) {
    failed(error.exit(), error.what());
  } catch (const std::bad_alloc&) {
    failed(Exit::resources, "memory: an allocation failed");
  }
  if (const std::optional<FinishedRun> found = found_in(run, console)) take(result, *found);
}

}  // namespace

std::vector<SweepResult> run_sweep(const SweepRequest& request, Console& console) {
  std::vector<SweepResult> results(request.runs.size());
  double left = 0;
  for (std::size_t i = 0; i < results.size(); ++i) {
    results[i].loss = results[i].bits_per_byte = results[i].tokens_per_second = not_measured;
    if (const std::optional<FinishedRun> found = found_in(request.runs[i], console)) take(results[i], *found);
    if (results[i].state == "waiting") left += cost(request.runs[i].config);
  }
  std::error_code error;
  fs::create_directories(request.directory, error);
  if (error) throw Error(Exit::io, fmt::format("{}: cannot be made: {}", request.directory, error.message()));
  const RunLock lock(request.directory);
  const std::string file = request.directory + "/sweep.json";
  double spent_seconds = 0, spent = 0;
  for (std::size_t i = 0; i < results.size(); ++i) {
    const std::string title = fmt::format("run {} of {}: {}", i + 1, results.size(), request.runs[i].name);
    if (results[i].state != "waiting") {
      console.info(fmt::format("{}: {} already", title, results[i].state));
      continue;
    }
    if (request.stop_requested && request.stop_requested()) break;
    console.info(spent > 0 ? fmt::format("{}; about {} left", title, human_seconds(spent_seconds / spent * left))
                           : title);
    const auto start = std::chrono::steady_clock::now();
    train_one(request, request.runs[i], results[i], console);
    spent_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    spent += cost(request.runs[i].config);
    left -= cost(request.runs[i].config);
    write_text(file, sweep_json(request, results));
    if (results[i].state == "stopped") break;
  }
  write_text(file, sweep_json(request, results));
  return results;
}

Exit exit_of(const std::vector<SweepResult>& results) {
  Exit exit = Exit::done;
  for (const SweepResult& result : results) {
    if (result.state == "stopped" || result.state == "waiting") return Exit::stopped;
    if (exit == Exit::done) exit = result.exit;
  }
  return exit;
}

}  // namespace nll
