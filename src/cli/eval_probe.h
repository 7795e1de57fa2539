// nll eval --probe: options, measuring and printing.
#pragma once
#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "src/cli/evaluator.h"
#include "src/cli/verbs.h"

namespace nll {

struct ProbeOptions {
  std::string path;  // empty: not asked for
  bool asked() const { return !path.empty(); }
  // After the other options of the verb, which it excludes.
  void add_to(CLI::App& verb);
};

// Whether "not" changes what the model finds likely, by the records of a file, and in `texts`, which may be empty, what
// the word costs beside other function words.
Exit show_probe(const ProbeOptions& options, const OpenModel& model, Backend& backend,
                const std::vector<EvalText>& texts, const TextReading& reading, bool json, Invocation& invocation);

}  // namespace nll
