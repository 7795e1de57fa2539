// Console: what a person sees. On a terminal one live line that is rewritten in place; in a log plain lines, fewer of
// them. Goes to standard error through spdlog; results (samples, tables, --json) are printed by the verbs to standard
// output.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>

namespace nll {

class Console {
 public:
  Console();  // looks whether standard error is a terminal and how wide it is
  explicit Console(bool terminal);
  ~Console();
  bool terminal() const { return terminal_; }
  void info(const std::string& line);
  void warning(const std::string& line);
  // Replaces the live line on a terminal (cut to its width). In a log it prints when at least `log_interval` passed
  // since the last such line, or when `always` is set.
  void live(const std::string& line, bool always = false);
  void finish_live();  // keeps the last live line and goes to the next

 private:
  void erase();
  bool terminal_ = false;
  bool live_shown_ = false;
  std::string last_;
  std::chrono::steady_clock::time_point last_log_{};
};

// Progress of one job ("reading", "tokenizing", "evaluating"): share done, rate and time left, shown after 2 seconds.
class Job {
 public:
  Job(Console& console, std::string name, std::string unit);  // unit: "MB", "tokens", "steps"
  void update(std::int64_t done, std::int64_t total);
  void finish();

 private:
  Console& console_;
  std::string name_, unit_;
  std::chrono::steady_clock::time_point start_, shown_{};
  bool visible_ = false;
};

// For people: "1.2M", "43.9 MB", "3m 05s", "12.3k".
std::string human_count(double count);
std::string human_bytes(std::int64_t bytes);
std::string human_seconds(double seconds);

}  // namespace nll
