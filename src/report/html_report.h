// nll report: what runs said of themselves as one HTML page that needs nothing else: no service, no network, no program
// but a browser. What is shown, and why: docs/report.md.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "src/report/run_record.h"

namespace nll {

// The page. The same runs give the same bytes. `defaults`: of the config, to show what was chosen; may be empty.
std::string html_report(const std::vector<RunRecord>& runs, const ConfigKeys& defaults);

// Whether a file with this content was made by html_report.
bool is_html_report(std::string_view content);

// Files of src/report/page/, put into the program when it is built.
extern const char* const report_style;
extern const char *const report_script_axes, *const report_script_draw, *const report_script_use;

}  // namespace nll
