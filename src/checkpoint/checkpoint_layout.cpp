#include "src/checkpoint/checkpoint_layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>

#include "src/checkpoint/checkpoint.h"
#include "src/checkpoint/file_io.h"

namespace nll {
namespace {

struct SeriesPlace {
  std::int64_t index = 0, count = 0;
};

std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t value = -1;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || value < 0) return {};
  return value;
}

// Of "optimizer-00001-of-00004.safetensors"; nothing for any other name.
std::optional<SeriesPlace> series_place(std::string_view name) {
  constexpr std::string_view prefix = "optimizer-", middle = "-of-", suffix = ".safetensors";
  if (!name.starts_with(prefix) || !name.ends_with(suffix)) return {};
  const std::size_t at = name.find(middle, prefix.size());
  if (at == std::string_view::npos || name.size() < at + middle.size() + suffix.size()) return {};
  const auto index = whole_number(name.substr(prefix.size(), at - prefix.size()));
  const auto count = whole_number(name.substr(at + middle.size(), name.size() - suffix.size() - at - middle.size()));
  if (!index || !count || *count < 2 || *index >= *count || optimizer_file_name(*index, *count) != name) return {};
  return SeriesPlace{*index, *count};
}

}  // namespace

std::string optimizer_file_name(std::int64_t index, std::int64_t count) {
  if (count == 1) return optimizer_file;
  return fmt::format("optimizer-{:05}-of-{:05}.safetensors", index, count);
}

bool is_optimizer_file(std::string_view name) { return name == optimizer_file || series_place(name).has_value(); }

std::vector<std::string> optimizer_files(const std::vector<std::string>& names, const std::string& place) {
  std::vector<std::string> found;
  std::copy_if(names.begin(), names.end(), std::back_inserter(found), is_optimizer_file);
  std::sort(found.begin(), found.end());
  if (found.size() < 2 && (found.empty() || found.front() == optimizer_file)) return found;
  const auto fail = [&](const std::string& what) { throw Error(Exit::bad_data, place + ": " + what); };
  const std::int64_t count = series_place(found.front()) ? series_place(found.front())->count : 1;
  for (const std::string& name : found) {
    const auto at = series_place(name);
    if (!at || at->count != count) fail(fmt::format("{} and {} are of different saves", found.front(), name));
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const std::string name = optimizer_file_name(i, count);
    if (i < static_cast<std::int64_t>(found.size()) && found[static_cast<std::size_t>(i)] == name) continue;
    fail(fmt::format("{} is missing beside {}", name, found.front()));
  }
  return found;
}

std::string shape_text(const std::vector<std::int64_t>& shape) { return fmt::format("{}", fmt::join(shape, ",")); }

std::optional<std::vector<std::int64_t>> parse_shape(std::string_view text) {
  std::vector<std::int64_t> shape;
  while (true) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const auto dim = whole_number(text.substr(0, comma));
    if (!dim || shape.size() == 32) return {};
    shape.push_back(*dim);
    if (comma == text.size()) return shape;
    text.remove_prefix(comma + 1);
  }
}

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
