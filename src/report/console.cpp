#include "src/report/console.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "src/report/file.h"
#include "src/report/utf8.h"

namespace nll {
namespace {

constexpr const char* erase_to_end = "\x1b[K";

// Where the logger writes. A failed write is not worth a run: progress is not its result.
class DescriptorSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit DescriptorSink(int descriptor) : descriptor_(descriptor) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t text;
    formatter_->format(message, text);
    write_all(descriptor_, {text.data(), text.size()});
  }
  void flush_() override {}

 private:
  int descriptor_;
};

// A log that is opened when there is something to say and a folder to say it in. Until then lines are kept; so many of
// them that no sensible start is cut short.
class LogFileSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit LogFileSink(LogFile file) : file_(std::move(file)) {}
  ~LogFileSink() override {
    write_kept();
    if (descriptor_ >= 0) close(descriptor_);
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    if (given_up_) return;
    spdlog::memory_buf_t text;
    formatter_->format(message, text);
    if (kept_.size() < most_kept) kept_.append(text.data(), text.size());
    write_kept();
  }
  void flush_() override {}

 private:
  static constexpr std::size_t most_kept = 1 << 20;

  void write_kept() {
    if (kept_.empty() || !open_file()) return;
    write_all(descriptor_, kept_);
    kept_.clear();
  }
  bool open_file() {
    if (descriptor_ >= 0) return true;
    struct stat folder {};
    if (given_up_ || stat(file_.folder.c_str(), &folder) != 0) return false;
    const std::string path = file_.path();
    mkdir(path.substr(0, path.rfind('/')).c_str(), 0755);  // there already, or open() says what is wrong
    descriptor_ = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (descriptor_ >= 0) return true;
    given_up_ = true;
    write_all(STDERR_FILENO, fmt::format("warning: {}: cannot be written: {}\n", path, std::strerror(errno)));
    return false;
  }

  LogFile file_;
  int descriptor_ = -1;
  bool given_up_ = false;
  std::string kept_;
};

// A log is read later, so its lines carry the time.
constexpr const char* log_pattern = "%Y-%m-%d %H:%M:%S  %v";

}  // namespace

LogFile rank_log(const std::string& run_folder, int rank) {
  return {run_folder, fmt::format("logs/rank_{:05}.log", rank)};
}

Console::Console() : Console(isatty(STDERR_FILENO) == 1) {}

Console::Console(bool terminal) : Console(terminal, STDERR_FILENO) {}

Console::Console(bool terminal, int descriptor, Clock clock)
    : terminal_(terminal), descriptor_(descriptor), clock_(std::move(clock)) {
  logger_ = std::make_shared<spdlog::logger>("console", std::make_shared<DescriptorSink>(descriptor));
  logger_->set_pattern(terminal ? "%v" : log_pattern);
}

Console::Console(const LogFile& file) : file_(true), descriptor_(-1), clock_(std::chrono::steady_clock::now) {
  logger_ = std::make_shared<spdlog::logger>("console", std::make_shared<LogFileSink>(file));
  logger_->set_pattern(log_pattern);
}

Console::~Console() {
  if (live_shown_) write_all(descriptor_, "\n");
}

int Console::columns() const {
  winsize size{};
  return ioctl(descriptor_, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void Console::info(const std::string& line) { print(line, "", ""); }

void Console::warning(const std::string& line) { print(line, "\x1b[33m", "warning:"); }

void Console::error(const std::string& message, const std::string& hint) {
  print(message, "\x1b[31m", "error:");
  if (!hint.empty()) print(hint, "", "hint:");
}

void Console::print(const std::string& line, const char* color, const char* kind) {
  const std::lock_guard lock(mutex_);
  const bool was_shown = live_shown_;
  erase();
  const bool colored = terminal_ && *color != '\0';
  logger_->info("{}{}{}{}{}", colored ? color : "", kind, colored ? "\x1b[0m" : "", *kind != '\0' ? " " : "", line);
  if (was_shown) draw();
}

void Console::live(const std::string& line, bool always) {
  if (file_) return;
  const std::lock_guard lock(mutex_);
  const Time time = now();
  last_ = line;
  pending_ = true;
  if (terminal_) {
    if (always || !live_shown_ || time - last_draw_ >= redraw_interval) {
      draw();
      last_draw_ = time;
    }
  } else if (always || last_log_ == Time{} || time - last_log_ >= log_interval) {
    logger_->info("{}", line);
    last_log_ = time;
    pending_ = false;
  }
}

void Console::finish_live() {
  const std::lock_guard lock(mutex_);
  if (terminal_) {
    if (live_shown_ && pending_) draw();
    if (live_shown_) write_all(descriptor_, "\n");
  } else if (pending_) {
    logger_->info("{}", last_);
  }
  live_shown_ = pending_ = false;
  last_log_ = {};
}

void Console::draw() {
  // The last column stays free: a cursor behind it would wait to wrap, and the erasing would take the last letter.
  write_all(descriptor_, "\r" + cut_to_columns(last_, columns() - 1) + erase_to_end);
  live_shown_ = true;
  pending_ = false;
}

void Console::erase() {
  if (!live_shown_) return;
  write_all(descriptor_, std::string("\r") + erase_to_end);
  live_shown_ = false;
}

}  // namespace nll
