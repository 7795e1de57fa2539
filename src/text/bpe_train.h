// Learns the merges of a BPE: again and again the most frequent pair of neighbours becomes a new symbol.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "src/text/bpe_vocabulary.h"
#include "src/text/word_counts.h"

namespace nll {

// Grows a vocabulary of the 256 bytes, in alphabet order, to `vocabulary` tokens, or fewer where the words have no
// pair left. Ties go to the lower left id, then to the lower right id. Counts of pairs are kept up to date word by
// word; a heap of stale counts is corrected at its top. report(tokens so far) may throw to stop.
BpeVocabulary learn_merges(const WordCounts& words, std::int64_t vocabulary,
                           const std::function<void(std::int64_t tokens)>& report);

}  // namespace nll
