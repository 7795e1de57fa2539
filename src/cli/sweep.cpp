// nll sweep: trains every combination of some keys' values.
#include <fmt/format.h>

#include "src/cli/verbs.h"
#include "src/dist/launch.h"
#include "src/train/sweep.h"

namespace nll {

namespace {

struct SweepOptions {
  std::string config, directory;
  std::vector<std::string> overrides, grid;
};

Exit sweep(const SweepOptions& options, Invocation& invocation) {
  if (detect_launch(invocation.environment).kind != Launch::Kind::alone)
    throw Error(Exit::usage, "sweep: runs in one process, and a launcher started this one",
                "nll sweep, without mpirun");
  SweepRequest request;
  for (const std::string& argument : options.grid) request.grid.push_back(parse_grid(argument));
  request.directory = options.directory;
  request.runs = plan_sweep(options.config, options.overrides, request.grid, request.directory);
  for (const std::string& word : invocation.arguments)
    request.command += (request.command.empty() ? "" : " ") + shell_word(word);
  request.cache_folder = invocation.cache_folder;
  request.stop_requested = invocation.stop_requested;
  const std::vector<SweepResult> results = run_sweep(request, invocation.console);
  print(sweep_table(request, results));
  const Exit exit = exit_of(results);
  if (exit == Exit::stopped) invocation.console.info("to go on: " + request.command);
  return exit;
}

}  // namespace

void add_sweep(CLI::App& app, Invocation& invocation) {
  CLI::App* verb = app.add_subcommand("sweep", "Train every combination of some keys' values, or go on with that");
  auto options = std::make_shared<SweepOptions>();
  verb->add_option("CONFIG", options->config, "JSON config")->required();
  verb->add_option("--grid", options->grid, "A key and its values (may be given several times)")
      ->required()
      ->allow_extra_args(false)
      ->type_name("a.b=1,2,3");
  verb->add_option("--set", options->overrides, "Override one key in all runs: a.b=c (may be given several times)")
      ->allow_extra_args(false)
      ->type_name("a.b=c");
  verb->add_option("--directory", options->directory,
                   "Folder of the sweep, one folder in it for each run; default: run.directory of the config with "
                   "_sweep behind it")
      ->type_name("DIR");
  verb->callback(
      [&invocation, options] { invocation.run = [&invocation, options] { return sweep(*options, invocation); }; });
}

}  // namespace nll
