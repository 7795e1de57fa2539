// The prompts of nll eval --generation.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "src/text/tokenizer.h"

namespace nll {

// Up to `count` prompts from the lines of a .jsonl file, in order, each with end-of-text before it where the tokenizer
// has one: {"prompt": ...} whole, {"text": ...} cut to `tokens` tokens. Throws Error(bad_data) that names file, line
// and field.
std::vector<std::vector<std::int32_t>> read_prompts(const std::string& path, const Tokenizer& tokenizer,
                                                    std::int64_t count, std::int64_t tokens);

}  // namespace nll
