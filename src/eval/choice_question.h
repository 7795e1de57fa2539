// Questions of multiple choice: a context, endings, and which of them is right. docs/evaluation.md.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "src/text/tokenizer.h"

namespace nll {

// How a HellaSwag record becomes text: as lm-evaluation-harness does it, or as llm.c does.
enum class HellaSwagForm { lm_eval, llmc };

struct ChoiceQuestion {
  std::string context;               // may be empty
  std::vector<std::string> endings;  // at least two, none empty; each begins with the space that sets it off
  std::size_t label = 0;             // the right one
};

// The question on a line of a .jsonl file: HellaSwag's own fields, or "query" or "context", "choices" or "endings",
// "label" or "answer". Throws Error(bad_data): "<place>: <field> <what was found> (<what was expected>)".
ChoiceQuestion parse_choice(std::string_view line, HellaSwagForm form, const std::string& place);

// An ending as tokens, with its lengths as text.
struct EncodedEnding {
  std::vector<std::int32_t> tokens;
  std::int64_t bytes = 0;       // UTF-8, with the leading space
  std::int64_t characters = 0;  // code points, without the leading space
};
struct EncodedQuestion {
  std::string place;                  // "<file>:<line>", for messages
  std::vector<std::int32_t> context;  // never empty
  std::vector<EncodedEnding> endings;
  std::size_t label = 0;
};

// White space at the end of the context is encoded with the ending. An empty context is end-of-text; Error(bad_data)
// where the tokenizer has none.
EncodedQuestion encode_choice(const ChoiceQuestion& question, const Tokenizer& tokenizer, const std::string& place);

// All questions of a file, which is .jsonl, or an evaluation shard of llm.c (".bin") with tokens below `vocabulary`.
// `tokenizer`: nullptr: none, then only shards can be read, and their endings have no bytes and characters. `progress`
// is told how much of the file was read and may throw. Throws Error(bad_data).
std::vector<EncodedQuestion> read_choices(const std::string& path, HellaSwagForm form, const Tokenizer* tokenizer,
                                          std::int64_t vocabulary, const Progress& progress = {});

}  // namespace nll
