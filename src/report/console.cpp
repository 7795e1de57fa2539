#include "src/report/console.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>
#include <sys/ioctl.h>
#include <unistd.h>

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

}  // namespace

Console::Console() : Console(isatty(STDERR_FILENO) == 1) {}

Console::Console(bool terminal) : Console(terminal, STDERR_FILENO) {}

Console::Console(bool terminal, int descriptor, Clock clock)
    : terminal_(terminal), descriptor_(descriptor), clock_(std::move(clock)) {
  logger_ = std::make_shared<spdlog::logger>("console", std::make_shared<DescriptorSink>(descriptor));
  // A log is read later, so its lines carry the time.
  logger_->set_pattern(terminal ? "%v" : "%Y-%m-%d %H:%M:%S  %v");
}

Console::~Console() {
  if (live_shown_) write_all(descriptor_, "\n");
}

int Console::columns() const {
  winsize size{};
  return ioctl(descriptor_, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void Console::info(const std::string& line) { print(line, false); }

void Console::warning(const std::string& line) { print(line, true); }

void Console::print(const std::string& line, bool is_warning) {
  const std::lock_guard lock(mutex_);
  const bool was_shown = live_shown_;
  erase();
  if (is_warning) {
    logger_->warn("{}{}", terminal_ ? "\x1b[33mwarning:\x1b[0m " : "warning: ", line);
  } else {
    logger_->info("{}", line);
  }
  if (was_shown) draw();
}

void Console::live(const std::string& line, bool always) {
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
