// What a report says in words: samples over time, the config, the machine, what happened when.
#pragma once
#include <string>
#include <vector>

#include "src/report/run_record.h"

namespace nll {

// Samples of each run, the last one open; of many an even choice. Empty when there are none.
std::string samples_html(const std::vector<RunRecord>& runs);

// All keys of the configs. With several runs those that differ come first; with one, those that are not as in
// `defaults` stand out. Empty when no run has a config.
std::string config_html(const std::vector<RunRecord>& runs, const ConfigKeys& defaults);

// The facts of each start and resume: device, memory, sizes.
std::string machine_html(const std::vector<RunRecord>& runs);

// Resumes, skipped steps and checkpoints as a table; empty when nothing of it happened.
std::string happenings_html(const std::vector<RunRecord>& runs);

}  // namespace nll
