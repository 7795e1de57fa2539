// nll: the verb table, the one try/catch, the only reader of argv and of signals.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>

#include "src/cli/verbs.h"

namespace {

volatile std::sig_atomic_t stop_signals = 0;

// SIGINT, SIGTERM and SIGUSR1 ask for a save and a clean end; a second SIGINT leaves at once.
extern "C" void on_stop_signal(int signal) {
  if (signal == SIGINT && stop_signals > 0) _exit(128 + SIGINT);
  stop_signals = 1;
}

void listen_for_signals() {
  struct sigaction action = {};
  action.sa_handler = on_stop_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  for (int signal : {SIGINT, SIGTERM, SIGUSR1}) sigaction(signal, &action, nullptr);
  // A full disk or a closed pipe is an error with a message, not a silent death.
  std::signal(SIGXFSZ, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);
}

// Where this user's programs keep what they can make again; empty: nowhere.
std::string cache_folder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache == '/') {
    return std::string(cache) + "/nll";
  }
  if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/') return std::string(home) + "/.cache/nll";
  return {};
}

int fail(nll::Exit exit, const std::string& message, const std::string& hint,
         const nll::Invocation* invocation = nullptr) {
  const bool ranked = invocation != nullptr && !invocation->rank.empty();
  const std::string rank = ranked ? "[" + invocation->rank + "] " : "";
  std::fprintf(stderr, "error: %s%s\n", rank.c_str(), message.c_str());
  if (!hint.empty()) std::fprintf(stderr, "hint: %s\n", hint.c_str());
  if (ranked && invocation->abort) invocation->abort(exit);
  return static_cast<int>(exit);
}

}  // namespace

int main(int argc, char** argv) {
  listen_for_signals();
  nll::Console console;
  nll::Invocation invocation{
      console, [] { return stop_signals != 0; }, {argv, argv + argc}, cache_folder(), std::getenv};
  try {
    CLI::App app{"nll trains GPTs from scratch by minimising the cross-entropy of the next token."};
    app.name("nll");
    app.set_version_flag("--version", "nll " NLL_VERSION " (" + nll::backends() + ")");
    app.require_subcommand(1);
    for (auto add : {nll::add_tokenize, nll::add_train, nll::add_eval, nll::add_sample, nll::add_report, nll::add_fit,
                     nll::add_sweep, nll::add_plan, nll::add_verify, nll::add_bench, nll::add_config}) {
      add(app, invocation);
    }
    try {
      app.parse(argc, argv);
    } catch (const CLI::Success& asked) {  // --help, --version
      return app.exit(asked);
    } catch (const CLI::ParseError& wrong) {
      const std::string hint = nll::verb_meant(app, argc > 1 ? argv[1] : "");
      if (!hint.empty())
        return fail(nll::Exit::usage, std::string("command line: unknown verb \"") + argv[1] + "\"", hint);
      const auto verbs = app.get_subcommands();
      const std::string verb = verbs.empty() ? "" : " " + verbs.front()->get_name();
      return fail(nll::Exit::usage, std::string("command line: ") + wrong.what(), "nll" + verb + " --help");
    }
    return static_cast<int>(invocation.run());
  } catch (const nll::Error& error) {
    console.finish_live();
    return fail(error.exit(), error.what(), error.hint(), &invocation);
  } catch (const std::bad_alloc&) {
    return fail(nll::Exit::resources, "memory: an allocation failed", "`nll plan CONFIG` shows what a run needs",
                &invocation);
  } catch (const std::exception& bug) {
    return fail(nll::Exit::internal, std::string("internal: ") + bug.what(),
                "this is a bug in nll; please report it with the command", &invocation);
  }
}
