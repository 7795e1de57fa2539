// Repetition probes: what a model expects of text that it has just seen. Definitions: docs/evaluation.md.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "src/eval/teacher_forcing.h"

namespace nll {

constexpr std::int64_t repetition_copies = 9;  // a piece after 0 to 8 copies of itself

// Mean loss of a piece's tokens but its first, after n copies of the piece: entry n of repetition_copies. Each piece
// has at least 2 tokens; repetition_copies of them are scored as one text.
std::vector<double> loss_after_copies(const ScoreText& score, std::span<const std::vector<std::int32_t>> pieces);

// Tokens drawn uniformly from [0, vocabulary), and the same again.
struct InductionProbe {
  double first = 0, second = 0;  // mean loss of the tokens but the first, in either copy
  std::int64_t blocks = 0, tokens = 0;
};
// `tokens` >= 2 in a block.
InductionProbe probe_induction(const ScoreText& score, std::int64_t vocabulary, std::int64_t blocks,
                               std::int64_t tokens, std::uint64_t seed);

}  // namespace nll
