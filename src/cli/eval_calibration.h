// nll eval --calibration: options, measuring and printing.
#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <vector>

#include "src/cli/evaluator.h"
#include "src/cli/verbs.h"

namespace nll {

struct CalibrationOptions {
  bool asked = false;
  std::int64_t one_in = 64;
  // After the other options of the verb, which it excludes.
  void add_to(CLI::App& verb);
};

// Looks at whole distributions of a sample of all texts' tokens: does what has probability p happen in p of all cases,
// and what would a single temperature change?
Exit show_calibration(const CalibrationOptions& options, const OpenModel& model, Backend& backend,
                      const std::vector<EvalText>& texts, const TextReading& reading, bool json,
                      Invocation& invocation);

}  // namespace nll
