// nll train: trains, or goes on training, the model of a config.
#include <fmt/format.h>

#include "src/cli/verbs.h"
#include "src/config/config.h"
#include "src/dist/agreement.h"
#include "src/dist/launch.h"
#include "src/train/run.h"
#include "src/train/starting_model.h"

namespace nll {

namespace {

// For all ranks of a job to be there.
constexpr double meeting_seconds = 300;

struct TrainOptions {
  std::string config;
  std::vector<std::string> overrides;
  std::string resume;
  std::int64_t steps = 0;
};

std::string resume_command(const std::string& program, const TrainOptions& options) {
  std::string command = shell_word(program) + " train " + shell_word(options.config);
  for (const std::string& assignment : options.overrides) command += " --set " + shell_word(assignment);
  return command + " --resume auto";
}

// What a rank other than 0 says goes to a file of its own.
// `launcher`: what is typed before the command.
Exit train_as(Console& console, const Invocation& invocation, const TrainOptions& options, const Config& config,
              const std::shared_ptr<Transport>& transport, const std::string& launcher = "") {
  RunRequest request;
  request.cache_folder = invocation.cache_folder;
  request.config = config;
  request.resume = options.resume.empty()      ? ResumePolicy::refuse
                   : options.resume == "auto"  ? ResumePolicy::automatic
                   : options.resume == "never" ? ResumePolicy::never
                                               : ResumePolicy::path;
  request.resume_path = options.resume;
  request.step_limit = options.steps;
  request.resume_command = launcher + resume_command(invocation.arguments.front(), options);
  request.stop_requested = invocation.stop_requested;
  request.transport = transport;
  return run_training(request, console);
}

Exit train(Invocation& invocation, const TrainOptions& options) {
  const Launch launch = detect_launch(invocation.environment);
  const std::shared_ptr<Transport> transport = connect(launch, meeting_seconds);
  const World world = transport->world();
  RunConfigRequest wanted{options.config, options.overrides, false, {}, warn_of_refused(invocation.console)};
  wanted.resumes = !options.resume.empty() && options.resume != "never";
  if (wanted.resumes && options.resume != "auto") wanted.resume_path = options.resume;
  if (world.size == 1) {
    return train_as(invocation.console, invocation, options, load_run_config(wanted), nullptr);
  }
  invocation.rank = rank_name(world);
  invocation.abort = [transport](Exit exit) { transport->abort(exit); };
  try {
    const Config config = load_run_config(wanted, *transport);
    transport->set_limit(static_cast<double>(config.dist.timeout_seconds));
    if (world.rank == 0) {
      const std::string launcher = launch.launcher == "mpirun" ? fmt::format("mpirun -np {} ", world.size) : "";
      return train_as(invocation.console, invocation, options, config, transport, launcher);
    }
    Console console(rank_log(config.run.directory, world.rank));
    try {
      return train_as(console, invocation, options, config, transport);
    } catch (const Error& error) {
      console.error(error.what(), error.hint());
      throw;
    }
  } catch (const AgreedError& error) {
    // All ranks end with it, and one says so.
    invocation.abort = {};
    invocation.rank = {};
    if (world.rank == 0) throw;
    return error.exit();
  }
}

}  // namespace

void add_train(CLI::App& app, Invocation& invocation) {
  CLI::App* verb = app.add_subcommand("train", "Train the model of a config, or go on with its run");
  auto options = std::make_shared<TrainOptions>();
  verb->add_option("CONFIG", options->config, "JSON config; see `nll config`")->required();
  verb->add_option("--set", options->overrides, "Override one key: a.b=c (may be given several times)")
      ->allow_extra_args(false)
      ->type_name("a.b=c");
  verb->add_option("--resume", options->resume,
                   "auto: go on from the newest intact checkpoint, or start; never: only start; PATH: go on from that "
                   "checkpoint")
      ->type_name("auto|never|PATH");
  verb->add_option("--steps", options->steps, "Stop, saved, after this many more steps; the schedule stays as it is")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 50));
  verb->callback(
      [&invocation, options] { invocation.run = [&invocation, options] { return train(invocation, *options); }; });
}

}  // namespace nll
