// How much generated texts repeat themselves. Texts are token ids, output alone. Definitions: docs/evaluation.md.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace nll {

using TokenText = std::vector<std::int32_t>;

// Different n-grams / all n-grams, over all texts together; NaN where no text has n tokens. n >= 1.
double distinct_ngrams(std::span<const TokenText> texts, std::int64_t n);

// Mean over the texts of n tokens or more of 1 - different n-grams / n-grams.
struct RepeatedNgrams {
  double mean = 0;         // NaN where `texts` is 0
  std::int64_t texts = 0;  // that have n tokens
};
RepeatedNgrams repeated_ngrams(std::span<const TokenText> texts, std::int64_t n);

// Share of all tokens that occur among the `window` tokens before them; NaN where there are no tokens.
double repeated_tokens(std::span<const TokenText> texts, std::int64_t window);

// The text ends with three or more copies of a piece of at most 32 tokens.
bool ends_in_loop(std::span<const std::int32_t> text);
// Share of texts that do; NaN of no texts.
double loop_rate(std::span<const TokenText> texts);

}  // namespace nll
