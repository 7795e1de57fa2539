// human_count, human_bytes, human_seconds: numbers as people read them, three digits and a unit.
#include <fmt/format.h>

#include <array>
#include <cmath>

#include "src/report/console.h"

namespace nll {
namespace {

// `value` with the largest unit that keeps it at 1 or more: one decimal below 100, none from there. Rounding may reach
// the next unit (999,950 is 1.0M and not 1000k).
template <std::size_t count>
std::string with_unit(double value, const std::array<const char*, count>& units) {
  std::size_t unit = 0;
  while (unit + 1 < count && std::abs(value) >= 999.5) {
    value /= 1000;
    ++unit;
  }
  if (std::abs(value) >= 1e5) return fmt::format("{:.1e}{}", value, units[unit]);
  const bool whole = unit == 0 && value == std::floor(value);
  return fmt::format("{:.{}f}{}", value, whole || std::abs(value) >= 99.95 ? 0 : 1, units[unit]);
}

}  // namespace

std::string human_count(double count) {
  if (!std::isfinite(count)) return "?";
  return with_unit(count, std::array<const char*, 5>{"", "k", "M", "B", "T"});
}

std::string human_bytes(std::int64_t bytes) {
  return with_unit(static_cast<double>(bytes),
                   std::array<const char*, 7>{" B", " kB", " MB", " GB", " TB", " PB", " EB"});
}

std::string human_seconds(double seconds) {
  if (!(seconds >= 0) || seconds > 1e10) return "?";
  if (seconds < 9.95) return fmt::format("{:.1f}s", seconds);
  const std::int64_t whole = std::llround(seconds);
  if (whole < 60) return fmt::format("{}s", whole);
  if (whole < 3600) return fmt::format("{}m {:02}s", whole / 60, whole % 60);
  const std::int64_t minutes = std::llround(seconds / 60);
  if (minutes < 24 * 60) return fmt::format("{}h {:02}m", minutes / 60, minutes % 60);
  const std::int64_t hours = std::llround(seconds / 3600);
  if (hours >= 100 * 24) return fmt::format("{}d", hours / 24);
  return fmt::format("{}d {:02}h", hours / 24, hours % 24);
}

}  // namespace nll
