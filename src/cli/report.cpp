// nll report: one HTML page about one or several runs.
#include <fmt/format.h>

#include <filesystem>

#include "src/cli/verbs.h"
#include "src/config/config.h"
#include "src/report/file.h"
#include "src/report/html_report.h"

namespace nll {

namespace {

namespace fs = std::filesystem;

struct ReportOptions {
  std::vector<std::string> runs;
  std::string output;
};

// What is there already may be replaced only if it is such a page.
void check_output(const std::string& path) {
  std::error_code failed;
  if (!fs::exists(path, failed)) return;
  if (fs::is_directory(path, failed)) {
    throw Error(Exit::usage, path + ": is a folder (expected the name of a file)", "--output " + path + "/report.html");
  }
  if (!is_html_report(read_file(path))) {
    throw Error(Exit::usage, path + ": is no report of nll, and nothing else is overwritten",
                "give another name: --output FILE.html");
  }
}

Exit make_report(const ReportOptions& options, Invocation& invocation) {
  std::vector<RunRecord> runs;
  for (const std::string& folder : options.runs) {
    runs.push_back(read_run(folder, [&](const std::string& line) { invocation.console.warning(line); }));
  }
  name_runs(runs);
  const std::string output =
      options.output.empty() ? (fs::path(options.runs.front()) / "report.html").string() : options.output;
  check_output(output);
  replace_file(output, html_report(runs, config_keys(dump_config(Config{}), "defaults")));
  print(output + "\n");
  return Exit::done;
}

}  // namespace

void add_report(CLI::App& app, Invocation& invocation) {
  CLI::App* verb = app.add_subcommand("report", "Make one HTML page about a run, or several side by side");
  auto options = std::make_shared<ReportOptions>();
  verb->add_option("RUN", options->runs, "Folders of runs")->required();
  verb->add_option("--output", options->output, "The page; default: report.html in the first run's folder")
      ->type_name("FILE");
  verb->callback([&invocation, options] {
    invocation.run = [&invocation, options] { return make_report(*options, invocation); };
  });
}

}  // namespace nll
