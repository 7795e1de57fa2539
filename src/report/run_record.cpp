#include "src/report/run_record.h"

#include <fmt/format.h>
#include <cmath>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "kernels/check.h"
#include "src/report/file.h"
#include "src/report/metrics_file.h"
#include "src/report/utf8.h"

namespace nll {
namespace {

namespace fs = std::filesystem;

void flatten(const nlohmann::ordered_json& value, const std::string& name, ConfigKeys& keys) {
  if (!value.is_object()) {
    keys.emplace_back(name, value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
    return;
  }
  for (const auto& [key, inner] : value.items()) flatten(inner, name.empty() ? key : name + "." + key, keys);
}

std::string last_part(const std::string& folder) {
  fs::path path = fs::path(folder).lexically_normal();
  if (path.filename().empty()) path = path.parent_path();
  const std::string name = path.filename().string();
  return name.empty() || name == "." || name == ".." ? folder : name;
}

}  // namespace

const Event* last_event(const RunRecord& run, std::string_view name) {
  const auto found =
      std::find_if(run.events.rbegin(), run.events.rend(), [&](const Event& event) { return event.event == name; });
  return found == run.events.rend() ? nullptr : &*found;
}

bool learns_from_records(const RunRecord& run) {
  const Event* start = last_event(run, "start");
  return start != nullptr && std::isfinite(start->number("training_records"));
}

std::vector<Event> read_story(const std::string& path, const std::function<void(const std::string&)>& warn) {
  const std::string content = read_file(path);
  std::vector<Event> story;
  std::int64_t number = 1;
  for (std::size_t at = 0; at < content.size(); ++number) {
    const std::size_t end = std::min(content.find('\n', at), content.size());
    const std::string_view line = std::string_view(content).substr(at, end - at);
    at = end + 1;
    Event event;
    std::string problem = parse_event(line, event);
    if (problem.empty() && end == content.size()) problem = "the line is not complete";
    if (!problem.empty()) {
      warn(fmt::format("{}:{}: left out: {}", cut_to_columns(path, 200), number, problem));
      continue;
    }
    if (event.event == "start" || event.event == "resume") {
      std::erase_if(story, [&](const Event& earlier) { return !survives_resume(earlier, event.step); });
    }
    story.push_back(std::move(event));
  }
  return story;
}

ConfigKeys config_keys(const std::string& json, const std::string& place) {
  const nlohmann::ordered_json config = nlohmann::ordered_json::parse(json, nullptr, false, true);
  if (!config.is_object()) throw Error(Exit::bad_data, place + ": is no JSON object");
  ConfigKeys keys;
  flatten(config, "", keys);
  return keys;
}

RunRecord read_run(const std::string& folder, const std::function<void(const std::string&)>& warn) {
  const std::string shown = cut_to_columns(folder, 200);
  std::error_code failed;
  if (!fs::is_directory(folder, failed)) {
    throw Error(Exit::no_checkpoint, fmt::format("{}: {} (expected the folder of a run)", shown,
                                                 fs::exists(folder, failed) ? "not a folder" : "no such folder"));
  }
  const std::string metrics = folder + "/metrics.jsonl";
  if (!fs::exists(metrics, failed)) {
    throw Error(Exit::no_checkpoint, fmt::format("{}: no run (it has no metrics.jsonl)", shown),
                "name the folder that is run.directory in the config");
  }
  RunRecord run;
  run.folder = folder;
  run.name = last_part(folder);
  run.events = read_story(metrics, warn);
  if (const std::string config = folder + "/config.json"; fs::exists(config, failed)) {
    try {
      run.config = config_keys(read_file(config), cut_to_columns(config, 200));
    } catch (const Error& error) {
      warn(fmt::format("{}; the report has no config of this run", error.what()));
    }
  }
  return run;
}

void name_runs(std::vector<RunRecord>& runs) {
  for (RunRecord& run : runs) run.name = last_part(run.folder);
  std::vector<bool> ambiguous;
  for (const RunRecord& run : runs) {
    ambiguous.push_back(
        std::count_if(runs.begin(), runs.end(), [&](const RunRecord& other) { return other.name == run.name; }) > 1);
  }
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (ambiguous[i]) runs[i].name = runs[i].folder;
  }
}

}  // namespace nll
