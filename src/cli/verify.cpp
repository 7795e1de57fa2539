// nll verify: re-reads a checkpoint and checks every checksum.
#include <fmt/format.h>

#include "src/checkpoint/checkpoint.h"
#include "src/cli/verbs.h"

namespace nll {

namespace {

// All published checkpoints of a run, or the one folder that was named.
std::vector<std::string> folders_of(const std::string& path, Console& console) {
  FileOps& files = posix_file_ops();
  std::vector<std::string> names, folders;
  if (files.list(path + "/checkpoints", names) == 0) {
    for (const std::string& name : names) {
      if (name.starts_with("step_")) folders.push_back(path + "/checkpoints/" + name);
    }
  }
  if (folders.empty()) folders.push_back(resolve_checkpoint(files, path, warn_of_refused(console)));
  return folders;
}

}  // namespace

void add_verify(CLI::App& app, Invocation& invocation) {
  CLI::App* verb = app.add_subcommand("verify", "Re-read a checkpoint and check every checksum");
  auto path = std::make_shared<std::string>();
  verb->add_option("RUN", *path, "A run (all its checkpoints are read) or one checkpoint folder")->required();
  verb->callback([&invocation, path] {
    invocation.run = [&invocation, path] {
      bool intact = true;
      for (const std::string& folder : folders_of(*path, invocation.console)) {
        Job job(invocation.console, "verifying", "bytes");
        const std::vector<std::string> findings =
            verify_checkpoint(posix_file_ops(), folder, [&](std::int64_t done, std::int64_t total) {
              job.update(done, total);
              if (invocation.stop_requested()) throw Error(Exit::stopped, folder + ": verification stopped on request");
            });
        job.finish();
        print(fmt::format("{}: {}\n", folder, findings.empty() ? "intact" : "NOT intact"));
        for (const std::string& finding : findings) print("  " + finding + "\n");
        intact = intact && findings.empty();
      }
      if (!intact) throw Error(Exit::no_checkpoint, *path + ": a checkpoint is not intact");
      return Exit::done;
    };
  });
}

}  // namespace nll
