#include "src/report/metrics_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "kernels/check.h"
#include "src/report/file.h"
#include "src/report/utf8.h"

namespace nll {
namespace {

// Calls take(line, event) for every whole line. A last line without a newline is torn, whatever it holds: append writes
// the newline last. Throws Error(bad_data) at a line that is no event.
template <class Take>
void walk_lines(const std::string& path, std::string_view content, const Take& take) {
  std::int64_t number = 1;
  for (std::size_t at = 0; at < content.size(); ++number) {
    const std::size_t end = content.find('\n', at);
    if (end == std::string_view::npos) return;
    const std::string_view line = content.substr(at, end - at);
    Event event;
    if (const std::string problem = parse_event(line, event); !problem.empty()) {
      throw Error(Exit::bad_data, fmt::format("{}:{}: {}", cut_to_columns(path, 200), number, problem),
                  "remove the line, or move the file away");
    }
    take(content.substr(at, end + 1 - at), event);
    at = end + 1;
  }
}

// Leaves only whole lines up to the checkpoint at `resume_step` in the file.
void drop_later_lines(const std::string& path, std::optional<std::int64_t> resume_step) {
  const std::string content = read_file(path);
  std::string kept;
  if (resume_step) {
    walk_lines(path, content, [&](std::string_view line, const Event& event) {
      if (survives_resume(event, *resume_step)) kept += line;
    });
  } else {
    kept = content.substr(0, content.rfind('\n') + 1);
  }
  if (kept.size() != content.size()) replace_file(path, kept);
}

}  // namespace

bool survives_resume(const Event& event, std::int64_t step) {
  if (event.step != step) return event.step < step;
  return event.event == "train" || event.event == "skipped" || event.event == "start" || event.event == "resume";
}

MetricsFile::MetricsFile(const std::string& path, std::optional<std::int64_t> resume_step) : path_(path) {
  struct stat status {};
  if (stat(path.c_str(), &status) == 0) {
    if (S_ISDIR(status.st_mode)) file_failed(path, "opened for writing", EISDIR);
    // A pipe or /dev/null has no lines to drop.
    if (S_ISREG(status.st_mode)) drop_later_lines(path, resume_step);
  }
  descriptor_ = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (descriptor_ < 0) file_failed(path, "opened for writing", errno);
}

MetricsFile::~MetricsFile() {
  if (descriptor_ >= 0) close(descriptor_);
}

void MetricsFile::append(const Event& event) {
  const off_t before = lseek(descriptor_, 0, SEEK_END);
  if (write_all(descriptor_, to_json(event) + "\n")) return;
  const int reason = errno;
  // Part of the line may be there; a later line must not be glued to it. What cannot be cut (a pipe) stays.
  if (before >= 0 && ftruncate(descriptor_, before) != 0) errno = reason;
  file_failed(path_, "written", reason);
}

std::vector<Event> read_metrics(const std::string& path) {
  std::vector<Event> events;
  walk_lines(path, read_file(path), [&](std::string_view, const Event& event) { events.push_back(event); });
  return events;
}

}  // namespace nll
