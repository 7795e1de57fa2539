// Console: what a person sees. On a terminal one live line that is rewritten in place; in a log plain lines, fewer of
// them. Goes to standard error through spdlog; results (samples, tables, --json) are printed by the verbs to standard
// output. Of several ranks one has that; the others write what is not progress to files in the run's folder.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

namespace spdlog {
class logger;
}

namespace nll {

// Where a rank says what is not for everybody.
struct LogFile {
  std::string folder;  // the run's
  std::string name;    // "logs/rank_00003.log"
  std::string path() const { return folder + "/" + name; }
};
LogFile rank_log(const std::string& run_folder, int rank);

class Console {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Clock = std::function<Time()>;
  // Live lines: a terminal is redrawn at most this often, a log gets one at most this often.
  static constexpr std::chrono::milliseconds redraw_interval{50};
  static constexpr std::chrono::seconds log_interval{10};

  Console();  // looks whether standard error is a terminal and how wide it is
  explicit Console(bool terminal);
  // Writes to `descriptor`, which stays the caller's. Tests give a pipe and a clock that they turn themselves.
  Console(bool terminal, int descriptor, Clock clock = std::chrono::steady_clock::now);
  // Appends to a file, each line with its time; live lines are not written. The file is made at the first line that
  // comes when the run's folder exists (this makes no run), and holds what was said before that too.
  explicit Console(const LogFile& file);
  ~Console();  // ends a live line that is still open, so that what comes next starts on its own line
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  bool terminal() const { return terminal_; }
  int columns() const;  // width of the terminal at this moment; 80 when it does not say
  Time now() const { return clock_(); }
  void info(const std::string& line);
  void warning(const std::string& line);
  // What ends a run, for logs that outlive it. (main() prints it to standard error.)
  void error(const std::string& message, const std::string& hint = {});
  // Replaces the live line on a terminal (cut to its width). In a log it prints when at least `log_interval` passed
  // since the last such line, or when `always` is set.
  void live(const std::string& line, bool always = false);
  void finish_live();  // keeps the last live line and goes to the next

 private:
  void print(const std::string& line, const char* color, const char* kind);
  void draw();
  void erase();
  bool terminal_ = false;
  bool file_ = false;
  int descriptor_ = 2;
  Clock clock_;
  std::shared_ptr<spdlog::logger> logger_;
  std::mutex mutex_;  // jobs report from several threads
  bool live_shown_ = false;
  bool pending_ = false;  // last_ is newer than what is shown
  std::string last_;
  Time last_log_{}, last_draw_{};
};

// Progress of one job ("reading", "tokenizing", "evaluating"): share done, rate and time left, shown after 2 seconds.
class Job {
 public:
  static constexpr std::chrono::seconds quiet_time{2};

  // unit: "tokens", "steps", ...; with "MB" or "bytes" `done` and `total` count bytes and are shown as kB, MB, GB.
  Job(Console& console, std::string name, std::string unit);
  void update(std::int64_t done, std::int64_t total);  // total 0: not known
  void finish();  // keeps one line with the whole amount and time, when the job was shown at all

 private:
  bool counts_bytes() const;
  std::string amount(std::int64_t count) const;
  std::string rate(double seconds) const;
  Console& console_;
  std::string name_, unit_;
  std::chrono::steady_clock::time_point start_, shown_{};
  bool visible_ = false;
  std::int64_t done_ = 0;
};

// For people: "1.2M", "43.9 MB", "3m 05s", "12.3k". Counts go k, M, B, T; "?" stands for what is no number.
std::string human_count(double count);
std::string human_bytes(std::int64_t bytes);
std::string human_seconds(double seconds);

}  // namespace nll
