// The first thing a report says: how far each run came and how good it is.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "src/report/run_record.h"

namespace nll {

// A number of a run: its name, what to show, and a remark that may be empty.
struct SummaryRow {
  std::string name, value, note;
};

// "finished", "stopped or still running at step 230 of 600", ...
std::string run_status(const RunRecord& run);
// What is known of the run, best first: loss of the last validation, perplexity, bits per byte, ..., time, throughput.
std::vector<SummaryRow> summary_rows(const RunRecord& run);

// Tiles for one run, a table for several.
std::string summary_html(const std::vector<RunRecord>& runs);

}  // namespace nll
