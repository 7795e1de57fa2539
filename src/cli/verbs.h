// The verbs of the program, one file each. A verb adds its options to the command line and leaves what to do in `run`.
#pragma once
#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "kernels/check.h"
#include "src/report/console.h"
#include "src/train/model_folder.h"

namespace nll {

// What main() hands to every verb, and what the chosen verb hands back.
struct Invocation {
  Console& console;
  std::function<bool()> stop_requested;  // true once SIGINT, SIGTERM or SIGUSR1 came
  std::vector<std::string> arguments;    // the command line, for the line that says how to go on
  std::string cache_folder;              // of the user: $XDG_CACHE_HOME/nll or ~/.cache/nll; empty: none
  // Value of an environment variable, for what launchers say there; nullptr: not set.
  std::function<const char*(const char*)> environment;
  std::function<Exit()> run{};  // set by the verb that was asked for
  // Set by a verb that runs on several ranks: who is speaking ("rank 3 node1"), and how the job ends when this rank
  // fails alone.
  std::string rank{};
  std::function<void(Exit)> abort{};
};

void add_tokenize(CLI::App& app, Invocation& invocation);
void add_train(CLI::App& app, Invocation& invocation);
void add_eval(CLI::App& app, Invocation& invocation);
void add_report(CLI::App& app, Invocation& invocation);
void add_fit(CLI::App& app, Invocation& invocation);
void add_sweep(CLI::App& app, Invocation& invocation);
void add_sample(CLI::App& app, Invocation& invocation);
void add_plan(CLI::App& app, Invocation& invocation);
void add_verify(CLI::App& app, Invocation& invocation);
void add_bench(CLI::App& app, Invocation& invocation);
void add_config(CLI::App& app, Invocation& invocation);

// For a first word that is no verb: which one may have been meant, or the list of them. Empty for a verb or an option.
std::string verb_meant(const CLI::App& app, const std::string& word);

// Tells the user of a checkpoint that was passed over.
std::function<void(const std::string& folder, const std::string& why)> warn_of_refused(Console& console);

// Where a verb that reads a model computes, from its options --device, --precision and --threads.
struct DeviceOptions {
  std::string device = "auto";
  PrecisionConfig precision;
  std::int64_t threads = 0;

  void add_to(CLI::App& verb);
  Backend make(const Invocation& invocation) const;
};

// Opens a model for reading with a line of progress where it takes long.
OpenModel open_shown(const std::string& path, Backend& backend, const PrecisionConfig& precision, Console& console);

// A word of a command line as it must be typed into a shell.
std::string shell_word(const std::string& word);

// Prints to standard output; Error(io) when that fails, so that a full disk or a closed pipe is never silent success.
void print(const std::string& text);

}  // namespace nll
