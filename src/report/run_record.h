// What a run's folder says of it: its story out of metrics.jsonl, and its config.
#pragma once
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "src/report/event.h"

namespace nll {

// Dotted keys and their values as JSON, in the order of the file.
using ConfigKeys = std::vector<std::pair<std::string, std::string>>;

struct RunRecord {
  std::string folder;  // as it was named
  std::string name;    // short: what tells it from the runs beside it
  std::vector<Event> events;
  ConfigKeys config;  // empty: the folder has no config.json
};

// The last event of that name; null: there is none.
const Event* last_event(const RunRecord& run, std::string_view name);
// Whether the run's data are records: its loss is then that of its objective.
bool learns_from_records(const RunRecord& run);

// The events of a metrics.jsonl as one line: what a resume took back is left out, also in a file that keeps it. A line
// that is no event is left out with a warning that names file and line.
std::vector<Event> read_story(const std::string& path, const std::function<void(const std::string&)>& warn);

// The keys of a JSON config (comments allowed); throws Error(bad_data) for what is no object.
ConfigKeys config_keys(const std::string& json, const std::string& place);

// Throws Error(no_checkpoint) for a folder that is missing or holds no metrics.jsonl.
RunRecord read_run(const std::string& folder, const std::function<void(const std::string&)>& warn);

// Gives each run its short name: the last part of its folder, or the whole folder where that does not tell them apart.
void name_runs(std::vector<RunRecord>& runs);

}  // namespace nll
