// Questions of multiple choice as tokens, in the files that llm.c evaluates on. Layout: docs/evaluation.md.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "src/eval/choice_question.h"

namespace nll {

// All questions of a shard. `tokenizer`: for the endings' bytes and characters, which are 0 without one (nullptr).
// Throws Error(bad_data) that names the file, the question and the field.
std::vector<EncodedQuestion> read_choice_shard(const std::string& path, const Tokenizer* tokenizer,
                                               std::int64_t vocabulary);

}  // namespace nll
