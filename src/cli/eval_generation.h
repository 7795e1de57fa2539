// nll eval --generation: options, measuring and printing.
#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "src/cli/evaluator.h"
#include "src/cli/verbs.h"

namespace nll {

struct GenerationOptions {
  bool asked = false;
  std::string prompts;  // empty: from the text
  std::int64_t texts = 32, prompt_tokens = 32, new_tokens = 128;
  std::uint64_t seed = 1337;
  std::vector<double> temperatures{0, 0.7, 1};
  std::vector<double> repetition{1, 1.1, 1.2, 1.5};
  std::vector<double> frequency{0, 0.5, 1}, presence{0, 0.5, 1};
  bool all_combinations = false;

  // After the other options of the verb, which it excludes.
  void add_to(CLI::App& verb);
  // Prompts come from a text that is evaluated.
  bool needs_text() const { return prompts.empty() && prompt_tokens > 0; }
};

// Lets the model continue the same prompts under every setting of the grid and prints how much it repeats itself.
// `texts`: empty unless options.needs_text().
Exit show_generation(const GenerationOptions& options, const OpenModel& model, Backend& backend,
                     const std::vector<EvalText>& texts, bool json, Invocation& invocation);

}  // namespace nll
