// Sampling rules: which token follows, given the scores of all. Pure functions in double precision; docs/sampling.md.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/ops.h"

namespace nll {

// How the next token is drawn. Order: repetition, frequency and presence, temperature, top-k, top-p, min-p.
struct SamplingRules {
  double temperature = 1;         // 0: the most likely token, the lowest id on ties
  std::int64_t top_k = 0;         // 0: all
  double top_p = 1;               // 1: all
  double min_p = 0;               // tokens below min_p * p_max are left out; 0: none
  double repetition_penalty = 1;  // on ids of prompt and output (Keskar et al. 2019): u > 0 ? u / penalty : u * penalty
  double frequency_penalty = 0;   // times the count among generated ids
  double presence_penalty = 0;    // once for each generated id
};

// Throws Error(usage) that names the flag of `nll sample`, its range and the value.
void check_sampling(const SamplingRules& rules);

// How often each id has occurred: what the penalties look at.
struct TokenCounts {
  explicit TokenCounts(std::int64_t vocabulary)
      : seen(static_cast<std::size_t>(vocabulary)), generated(static_cast<std::size_t>(vocabulary)) {}
  void add_prompt(std::int32_t id) { ++seen.at(static_cast<std::size_t>(id)); }
  void add_generated(std::int32_t id) {
    ++seen.at(static_cast<std::size_t>(id));
    ++generated.at(static_cast<std::size_t>(id));
  }
  std::vector<std::int64_t> seen;       // in prompt and output
  std::vector<std::int64_t> generated;  // in the output
};

// scores (V), before any temperature: the repetition penalty once for each id that was seen, then
// u_j -= count_j * frequency_penalty + 1[count_j > 0] * presence_penalty.
void apply_penalties(std::span<double> scores, const TokenCounts& counts, const SamplingRules& rules);

struct Candidate {
  std::int32_t id = 0;
  double probability = 0;
};
// The tokens that are left of scores (V) by temperature (> 0), top-k, top-p and min-p; their probabilities sum to 1.
//   top-k  exactly the k highest scores;
//   top-p  the smallest set of the most likely of those, renormalised, that holds at least top_p;
//   min-p  of those, the ones whose probability is at least min_p times the highest.
// Equal scores are taken in the order of their ids; the most likely token always stays. With top-k or top-p the most
// likely come first, else they are in the order of their ids.
std::vector<Candidate> candidates(std::span<const double> scores, const SamplingRules& rules);

// The next token for scores (V) and a random number in [0, 1).
std::int32_t sample_token(std::span<const double> scores, const TokenCounts& counts, const SamplingRules& rules,
                          double uniform);

// The random number in [0, 1) that draws the token at `position` of a text (prompt and output together). It depends on
// nothing else, so that a text that is generated in two calls, or among other texts, draws the same numbers as alone.
// `sequence` tells the texts of one seed apart; below 2^56.
double sampling_uniform(std::uint64_t seed, std::uint64_t sequence, std::size_t position);

// The model's scores of its V tokens from a row of logits (at least V): with its scale and softcap. Throws
// Error(bad_data) where one is not finite.
void model_scores(std::span<const float> logits, const HeadShape& head, std::span<double> scores);

// ln p of `id` under softmax(scores).
double log_probability(std::span<const double> scores, std::int32_t id);
// The same under softmax(scores / temperature), temperature > 0.
double log_probability(std::span<const double> scores, std::int32_t id, double temperature);

}  // namespace nll
