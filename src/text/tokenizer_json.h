// Hugging Face's tokenizer.json, as far as it describes a byte-level BPE with GPT-2's pre-tokenizer.
#pragma once
#include <string>
#include <string_view>

#include "src/text/bpe_vocabulary.h"

namespace nll {

// Throws Error(bad_data), led by `place`, on JSON that is broken or describes something whose ids would differ.
BpeVocabulary read_tokenizer_json(std::string_view text, const std::string& place);
std::string write_tokenizer_json(const BpeVocabulary& vocabulary);

}  // namespace nll
