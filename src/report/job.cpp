// Job: a line of progress for whatever takes more than two seconds.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "src/report/console.h"

namespace nll {
namespace {

double seconds_between(Console::Time from, Console::Time to) {
  return std::chrono::duration<double>(to - from).count();
}

}  // namespace

Job::Job(Console& console, std::string name, std::string unit)
    : console_(console), name_(std::move(name)), unit_(std::move(unit)), start_(console.now()) {}

bool Job::counts_bytes() const { return unit_ == "MB" || unit_ == "bytes"; }

std::string Job::amount(std::int64_t count) const {
  return counts_bytes() ? human_bytes(count) : human_count(static_cast<double>(count)) + " " + unit_;
}

std::string Job::rate(double seconds) const {
  const double per_second = static_cast<double>(done_) / std::max(seconds, 1e-9);
  if (counts_bytes()) return human_bytes(static_cast<std::int64_t>(per_second)) + "/s";
  return human_count(per_second) + " " + unit_ + "/s";
}

void Job::update(std::int64_t done, std::int64_t total) {
  done_ = done;
  const Console::Time time = console_.now();
  // Called for every piece of work: most calls must cost no more than a look at the clock.
  if (time - start_ < quiet_time || (visible_ && time - shown_ < Console::redraw_interval)) return;
  visible_ = true;
  shown_ = time;
  const double seconds = seconds_between(start_, time);
  std::string line = name_ + ": ";
  if (total > 0) {
    const double share = std::clamp(static_cast<double>(done) / static_cast<double>(total), 0.0, 1.0);
    line += fmt::format("{:3}% of {}, {}", static_cast<int>(share * 100), amount(total), rate(seconds));
    if (share > 0 && share < 1) line += ", " + human_seconds(seconds / share - seconds) + " left";
  } else {
    line += amount(done) + ", " + rate(seconds);
  }
  console_.live(line);
}

void Job::finish() {
  if (!visible_) return;
  const double seconds = seconds_between(start_, console_.now());
  console_.live(fmt::format("{}: {} in {}, {}", name_, amount(done_), human_seconds(seconds), rate(seconds)), true);
  console_.finish_live();
  visible_ = false;
}

}  // namespace nll
