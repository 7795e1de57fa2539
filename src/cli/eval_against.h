// nll eval --against: two models on the same documents.
#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "src/cli/evaluator.h"
#include "src/cli/verbs.h"

namespace nll {

struct AgainstOptions {
  std::string other;  // empty: not asked for
  std::int64_t resamples = 1000;
  std::uint64_t seed = 1;
  bool asked() const { return !other.empty(); }
  // After the other options of the verb, which it excludes.
  void add_to(CLI::App& verb);
};

// Scores the text with the model at `first` and then with the other, of which only one is in memory at a time, and
// prints the paired comparison. Where their tokenizers differ, the text behind the first's tokens is encoded again for
// the second. Throws Error(bad_data) where the documents of the two are not the same.
Exit show_against(const AgainstOptions& options, const std::string& first, const TextReading& reading, Backend& backend,
                  const PrecisionConfig& precision, bool json, Invocation& invocation);

}  // namespace nll
