// Event: the one type of everything a run reports. metrics.jsonl holds one a line; the console and the plots read it
// too.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace nll {

using Value = std::variant<std::int64_t, double, bool, std::string>;

struct Event {
  std::string event;        // "train", "validation", "checkpoint", "sample", "start", "resume", "skipped", "end"
  std::int64_t step = 0;    // optimizer steps done
  std::int64_t tokens = 0;  // training tokens consumed
  std::vector<std::pair<std::string, Value>> values;  // names as in docs/formats.md, in this order
};

// One line of JSON without the newline. Doubles are written so that they read back bit for bit; non-finite ones as
// null.
std::string to_json(const Event& event);

}  // namespace nll
