// Does a "not" change what a model finds likely? Pairs of statements, one affirmed and one negated, with the ending
// that is true of the affirmed one and the one that is not. docs/evaluation.md.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/eval/choice_question.h"
#include "src/eval/multiple_choice.h"

namespace nll {

// A record as two questions with the same two endings, "true" and then "false". Right is "true" after the affirmed
// context and "false" after the negated one.
struct NegationPair {
  EncodedQuestion affirm, negate;
};

// {"affirm", "negate", "true", "false"}, all text; endings are set off by one space. Throws Error(bad_data):
// "<place>: <field> <what was found> (<what was expected>)".
NegationPair parse_negation(std::string_view line, const Tokenizer& tokenizer, const std::string& place);
// All records of a .jsonl file. Throws Error(bad_data), also for tokens beyond the model's vocabulary.
std::vector<NegationPair> read_negations(const std::string& path, const Tokenizer& tokenizer, std::int64_t vocabulary,
                                         const Progress& progress = {});

struct NegationResult {
  // log p("true") - log p("false") after the affirmed and after the negated context, sums over tokens.
  struct Preference {
    double affirm = 0, negate = 0;
  };
  std::vector<Preference> preferences;  // of each record
  std::int64_t cut = 0;                 // contexts that did not fit and lost their beginning
  std::int64_t affirm_right() const;    // "true" is more likely than "false"
  std::int64_t negate_right() const;    // "false" is more likely than "true"
  std::int64_t flips() const;           // the preference changes its sign, whichever way
};
// Error(bad_data) for an ending longer than the model's context of `context` tokens. `progress` may throw to stop.
NegationResult probe_negation(MultipleChoice& scorer, std::span<const NegationPair> pairs, std::int64_t context,
                              const Progress& progress = {});

}  // namespace nll
