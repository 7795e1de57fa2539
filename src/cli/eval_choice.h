// nll eval --choice: options, measuring and printing.
#pragma once
#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "src/cli/verbs.h"

namespace nll {

struct ChoiceOptions {
  std::optional<std::string> path;  // none: not asked for
  std::string form = "lm-eval";
  void add_to(CLI::App& verb);
};

// Answers all questions of the file and prints how many are right.
Exit show_choice(const ChoiceOptions& options, const OpenModel& model, Backend& backend, bool json,
                 Invocation& invocation);

}  // namespace nll
