// nll eval --teacher-forcing: options, measuring and printing.
#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <vector>

#include "src/cli/evaluator.h"
#include "src/cli/verbs.h"

namespace nll {

struct TeacherForcingOptions {
  bool asked = false;
  std::int64_t windows = 32;
  std::uint64_t seed = 1337;
  void add_to(CLI::App& verb);
};

// Looks at windows of all texts together and prints what it finds. Throws Error(internal) when a proof fails.
Exit show_teacher_forcing(const TeacherForcingOptions& options, const OpenModel& model, Backend& backend,
                          const std::vector<EvalText>& texts, bool json, Invocation& invocation);

}  // namespace nll
