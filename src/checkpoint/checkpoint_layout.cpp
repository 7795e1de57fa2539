#include "src/checkpoint/checkpoint_layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "src/checkpoint/checkpoint.h"
#include "src/checkpoint/file_io.h"

namespace nll {

std::string checkpoints_folder(const std::string& run) { return run + "/checkpoints"; }

std::string step_folder_name(std::int64_t step) { return fmt::format("step_{:08}", step); }

std::optional<std::int64_t> step_of_folder(std::string_view name) {
  constexpr std::string_view prefix = "step_";
  if (!name.starts_with(prefix)) return {};
  std::int64_t step = -1;
  const char* end = name.data() + name.size();
  const auto parsed = std::from_chars(name.data() + prefix.size(), end, step);
  // One step has one name: "step_12", "step_-0000001" and "step_000000001" are none of ours.
  if (parsed.ec != std::errc() || parsed.ptr != end || step < 0 || step_folder_name(step) != name) return {};
  return step;
}

std::vector<std::int64_t> published_steps(FileOps& files, const std::string& run) {
  std::vector<std::string> names;
  const std::string folder = checkpoints_folder(run);
  const int listed = retry_interrupted([&] { return files.list(folder, names); });
  if (listed == -ENOENT) return {};
  if (listed < 0) throw_file_error(folder, "list", listed);
  std::vector<std::int64_t> steps;
  for (const std::string& name : names) {
    if (const auto step = step_of_folder(name)) steps.push_back(*step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

std::optional<std::int64_t> newest_intact_step(
    FileOps& files, const std::string& run,
    const std::function<void(const std::string& folder, const std::string& why)>& refused) {
  std::vector<std::int64_t> steps = published_steps(files, run);
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    const std::string folder = checkpoints_folder(run) + "/" + step_folder_name(*step);
    const std::vector<std::string> findings = verify_checkpoint(files, folder);
    if (findings.empty()) return *step;
    const std::string more = findings.size() > 1 ? fmt::format(" (and {} more)", findings.size() - 1) : "";
    if (refused) refused(folder, findings.front() + more);
  }
  if (steps.empty()) return {};
  throw Error(Exit::no_checkpoint,
              fmt::format("{}: none of {} checkpoints is intact", checkpoints_folder(run), steps.size()),
              "`nll verify` lists what is wrong with each; move the folder away to start anew");
}

}  // namespace nll
