#include <fmt/format.h>

#include <algorithm>

#include "src/checkpoint/checkpoint.h"
#include "src/checkpoint/checkpoint_layout.h"
#include "src/checkpoint/file_io.h"
#include "src/checkpoint/manifest.h"

namespace nll {
namespace {

std::string of_run(FileOps& files, const std::string& run,
                   const std::function<void(const std::string&, const std::string&)>& refused) {
  const auto step = newest_intact_step(files, run, refused);
  if (!step) {
    throw Error(Exit::no_checkpoint, fmt::format("{}: no checkpoint yet (looked for folders named {} and so on)",
                                                 checkpoints_folder(run), step_folder_name(0)));
  }
  return checkpoints_folder(run) + "/" + step_folder_name(*step);
}

}  // namespace

std::string resolve_checkpoint(FileOps& files, const std::string& path,
                               const std::function<void(const std::string& folder, const std::string& why)>& refused) {
  std::string folder = path;
  while (folder.size() > 1 && folder.back() == '/') folder.pop_back();
  std::vector<std::string> names;
  const int listed = retry_interrupted([&] { return files.list(folder, names); });
  if (listed == -ENOTDIR) {
    throw Error(Exit::no_checkpoint,
                fmt::format("{}: not a folder (expected a run, a checkpoint or a Hugging Face folder)", folder));
  }
  if (listed < 0) throw Error(Exit::no_checkpoint, folder + ": " + folder_error_text(listed));
  const auto holds = [&](const std::string& name) { return std::binary_search(names.begin(), names.end(), name); };

  if (holds(manifest_name)) {
    const std::vector<std::string> findings = verify_checkpoint(files, folder);
    if (findings.empty()) return folder;
    const std::string more = findings.size() > 1 ? fmt::format(" (and {} more)", findings.size() - 1) : "";
    throw Error(Exit::no_checkpoint, fmt::format("{}/{}{}", folder, findings.front(), more),
                "name the run's folder instead to use its newest intact checkpoint");
  }
  if (holds("checkpoints")) return of_run(files, folder, refused);
  if (holds(weights_file) || holds(weights_index_file)) {
    if (holds("config.json")) return folder;
    throw Error(Exit::no_checkpoint, fmt::format("{}: config.json is missing beside the weights", folder));
  }
  const bool has_steps =
      std::any_of(names.begin(), names.end(), [](const std::string& name) { return step_of_folder(name).has_value(); });
  throw Error(
      Exit::no_checkpoint,
      fmt::format("{}: no run (checkpoints/), no checkpoint ({}) and no Hugging Face folder (config.json and {})",
                  folder, manifest_name, weights_file),
      has_steps ? "this looks like a run's checkpoints folder: name the run, or one step_ folder" : "");
}

}  // namespace nll
