// What `nll eval` prints: a table for people and JSON for programs.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "src/eval/breakdown.h"
#include "src/eval/context_loss.h"
#include "src/eval/evaluate.h"

namespace nll {

// One dataset, or all of them read as one.
struct EvalResult {
  std::string data;
  Evaluation evaluation;
  std::vector<CalibrationBin> equal_mass;  // 15 bins
  std::vector<LossBucket> by_position, by_frequency;
  std::int64_t documents = 0;
  std::optional<BootstrapIntervals> intervals;  // none: fewer than two documents
};

// How the text was read, the same for all datasets.
struct EvalReading {
  std::string model;
  std::int64_t context = 0, stride = 0;  // stride = context: windows do not overlap
};

struct EvalResults {
  EvalResult total;
  std::vector<EvalResult> datasets;     // empty where there is only one
  std::vector<ContextLoss> by_context;  // of a sample of all; empty: not asked for
};

inline constexpr std::int64_t few_tokens = 1000;   // a mean over fewer says little
inline constexpr std::int64_t few_documents = 20;  // percentiles of fewer promise too much

// `value` in the form of `format`, one field of fmt's; - where it is not finite.
std::string number_text(double value, const char* format);
// {"low", "high"}; null for none.
nlohmann::ordered_json interval_json(const std::optional<Interval>& interval);

// The total's table, below one row for each dataset where there are several.
std::string eval_table(const EvalReading& reading, const EvalResults& results);
// The total's numbers and, where there are several datasets, the same of each under "datasets".
nlohmann::ordered_json eval_json(const EvalReading& reading, const EvalResults& results);

}  // namespace nll
