#include "src/report/tensorboard_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <filesystem>

#include "kernels/check.h"
#include "src/report/file.h"
#include "src/report/tensorboard_record.h"

namespace nll {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view prefix = "events.out.tfevents.";

// One after the latest number in the names of the folder's event files; 0 when there are none.
std::int64_t next_number(const std::string& folder) {
  std::int64_t next = 0;
  std::error_code failed;
  for (fs::directory_iterator entry(folder, failed), end; !failed && entry != end; entry.increment(failed)) {
    const std::string name = entry->path().filename().string();
    std::int64_t number = 0;
    if (!name.starts_with(prefix)) continue;
    std::from_chars(name.data() + prefix.size(), name.data() + name.size(), number);
    next = std::max(next, number + 1);
  }
  return next;
}

}  // namespace

TensorboardFile::TensorboardFile(const std::string& folder, std::int64_t step, Clock clock) : clock_(std::move(clock)) {
  std::error_code failed;
  fs::create_directories(folder, failed);
  if (failed) file_failed(folder, "made", failed.value());
  const double now = clock_();
  // Readers take the files in the order of their names, which begin with the time. A clock that was set back, or two
  // starts in one second, must not turn that order round.
  std::int64_t number = std::max(static_cast<std::int64_t>(now), next_number(folder));
  do {
    path_ = fmt::format("{}/{}{:010}.nll", folder, prefix, number++);
    descriptor_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
  } while (descriptor_ < 0 && errno == EEXIST);
  if (descriptor_ < 0) file_failed(path_, "created", errno);
  write(tensorboard_version(now));
  write(tensorboard_restart(now, step + 1));
}

TensorboardFile::~TensorboardFile() {
  if (descriptor_ >= 0) close(descriptor_);
}

void TensorboardFile::append(const Event& event) {
  const std::string message = tensorboard_summary(clock_(), event);
  if (!message.empty()) write(message);
}

void TensorboardFile::write(const std::string& message) {
  if (!write_all(descriptor_, tensorboard_frame(message))) file_failed(path_, "written", errno);
}

double seconds_since_epoch() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace nll
