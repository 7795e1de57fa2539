// nll train: trains, or goes on training, the model of a config.
#include <fmt/format.h>

#include "src/cli/verbs.h"
#include "src/config/config.h"
#include "src/train/run.h"

namespace nll {

namespace {

struct TrainOptions {
  std::string config;
  std::vector<std::string> overrides;
  std::string resume;
  std::int64_t steps = 0;
};

// Quotes a word for the shell where it needs it.
std::string shell_word(const std::string& word) {
  if (!word.empty() &&
      word.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=.,:/@%") ==
          std::string::npos)
    return word;
  std::string quoted = "'";
  for (char c : word) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  return quoted + "'";
}

std::string resume_command(const std::string& program, const TrainOptions& options) {
  std::string command = shell_word(program) + " train " + shell_word(options.config);
  for (const std::string& assignment : options.overrides) command += " --set " + shell_word(assignment);
  return command + " --resume auto";
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
  verb->callback([&invocation, options] {
    invocation.run = [&invocation, options] {
      RunRequest request;
      request.cache_folder = invocation.cache_folder;
      request.config = load_config(options->config, options->overrides);
      request.resume = options->resume.empty()      ? ResumePolicy::refuse
                       : options->resume == "auto"  ? ResumePolicy::automatic
                       : options->resume == "never" ? ResumePolicy::never
                                                    : ResumePolicy::path;
      request.resume_path = options->resume;
      request.step_limit = options->steps;
      request.resume_command = resume_command(invocation.arguments.front(), *options);
      request.stop_requested = invocation.stop_requested;
      return run_training(request, invocation.console);
    };
  });
}

}  // namespace nll
