// Event: the one type of everything a run reports. metrics.jsonl holds one a line; the console and the plots read it
// too.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace nll {

using Value = std::variant<std::int64_t, double, bool, std::string, std::vector<double>>;

struct Event {
  std::string event;        // "train", "validation", "checkpoint", "sample", "start", "resume", "skipped", "end"
  std::int64_t step = 0;    // optimizer steps done
  std::int64_t tokens = 0;  // training tokens consumed
  std::vector<std::pair<std::string, Value>> values;  // names as in docs/formats.md, in this order

  // The number called `name` (a whole one too); NaN when there is none.
  double number(std::string_view name) const;
  // The text or the list called `name`; null when there is none.
  const std::string* text(std::string_view name) const;
  const std::vector<double>* list(std::string_view name) const;
};

// One line of JSON without the newline, always valid UTF-8 (invalid bytes become U+FFFD). Doubles are written so that
// they read back bit for bit; non-finite ones as null. The numbers of a list may stand without a decimal point.
std::string to_json(const Event& event);

// Reads what to_json wrote; null becomes NaN. Returns an empty text, or what is wrong with the line.
std::string parse_event(std::string_view line, Event& event);

}  // namespace nll
