// GPT-2's own two files: encoder.json (spelling -> id) and vocab.bpe (a merge a line, by rank).
#pragma once
#include <string>
#include <string_view>

#include "src/text/bpe_vocabulary.h"

namespace nll {

// Throws Error(bad_data) that names the file, and for vocab.bpe the line.
BpeVocabulary read_gpt2_files(std::string_view encoder, const std::string& encoder_place, std::string_view merges,
                              const std::string& merges_place);

}  // namespace nll
