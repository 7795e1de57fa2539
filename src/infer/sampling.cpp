// V vocabulary, u scores, m their maximum, w = e^((u - m) / temperature).
#include "src/infer/sampling.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "kernels/check.h"
#include "kernels/philox.h"

namespace nll {

namespace {

void require(bool holds, const char* flag, double value, const char* expected) {
  if (!holds) throw Error(Exit::usage, fmt::format("{}: {} is out of range (expected {})", flag, value, expected));
}

bool more_likely(const Candidate& a, const Candidate& b) {
  return a.probability != b.probability ? a.probability > b.probability : a.id < b.id;
}

double mass(const std::vector<Candidate>& left) {
  double sum = 0;
  for (const Candidate& c : left) sum += c.probability;
  return sum;
}

// Keeps the most likely of `left`, most likely first, until they hold `share` of its mass.
void keep_nucleus(std::vector<Candidate>& left, double share) {
  const double wanted = share * mass(left);
  const auto later = [](const Candidate& a, const Candidate& b) { return more_likely(b, a); };
  // A heap, because the nucleus is mostly a small part of the vocabulary and a full sort would cost more.
  std::make_heap(left.begin(), left.end(), later);
  auto rest = left.end();
  double held = 0;
  while (rest != left.begin() && held < wanted) {
    std::pop_heap(left.begin(), rest, later);
    --rest;
    held += rest->probability;
  }
  // What was taken stands at the end, the most likely last.
  left = std::vector<Candidate>(std::make_reverse_iterator(left.end()), std::make_reverse_iterator(rest));
}

}  // namespace

void check_sampling(const SamplingRules& rules) {
  const auto finite = [](double x) { return std::isfinite(x); };
  require(finite(rules.temperature) && rules.temperature >= 0, "--temperature", rules.temperature,
          "a number of at least 0; 0 takes the most likely token");
  require(rules.top_k >= 0, "--top-k", static_cast<double>(rules.top_k), "a whole number of at least 0; 0 is off");
  require(rules.top_p > 0 && rules.top_p <= 1, "--top-p", rules.top_p, "more than 0 and at most 1; 1 is off");
  require(rules.min_p >= 0 && rules.min_p <= 1, "--min-p", rules.min_p, "0 to 1; 0 is off");
  require(finite(rules.repetition_penalty) && rules.repetition_penalty > 0, "--repetition-penalty",
          rules.repetition_penalty, "a number above 0; 1 is off");
  require(rules.frequency_penalty >= -2 && rules.frequency_penalty <= 2, "--frequency-penalty", rules.frequency_penalty,
          "-2 to 2; 0 is off");
  require(rules.presence_penalty >= -2 && rules.presence_penalty <= 2, "--presence-penalty", rules.presence_penalty,
          "-2 to 2; 0 is off");
}

void apply_penalties(std::span<double> scores, const TokenCounts& counts, const SamplingRules& rules) {
  for (std::size_t j = 0; j < scores.size(); ++j) {
    if (counts.seen[j] > 0) {
      scores[j] = scores[j] > 0 ? scores[j] / rules.repetition_penalty : scores[j] * rules.repetition_penalty;
    }
    if (counts.generated[j] > 0) {
      scores[j] -= static_cast<double>(counts.generated[j]) * rules.frequency_penalty + rules.presence_penalty;
    }
  }
}

std::vector<Candidate> candidates(std::span<const double> scores, const SamplingRules& rules) {
  CHECK(!scores.empty());
  CHECK(rules.temperature > 0);
  std::vector<Candidate> left(scores.size());
  // Scores stand in for probabilities until top-k has chosen: e^u could make different scores equal.
  for (std::size_t j = 0; j < scores.size(); ++j) left[j] = {static_cast<std::int32_t>(j), scores[j]};
  const double maximum = *std::max_element(scores.begin(), scores.end());
  if (rules.top_k > 0 && rules.top_k < static_cast<std::int64_t>(left.size())) {
    std::partial_sort(left.begin(), left.begin() + rules.top_k, left.end(), more_likely);
    left.resize(static_cast<std::size_t>(rules.top_k));
  }
  // The maximum is taken off before the division, so that no temperature makes anything but the tail overflow.
  for (Candidate& c : left) c.probability = std::exp((c.probability - maximum) / rules.temperature);
  if (rules.top_p < 1) keep_nucleus(left, rules.top_p);
  if (rules.min_p > 0) std::erase_if(left, [&](const Candidate& c) { return c.probability < rules.min_p; });
  const double total = mass(left);
  for (Candidate& c : left) c.probability /= total;
  return left;
}

std::int32_t sample_token(std::span<const double> scores, const TokenCounts& counts, const SamplingRules& rules,
                          double uniform) {
  std::vector<double> u(scores.begin(), scores.end());
  apply_penalties(u, counts, rules);
  // max_element gives the first, which is the lowest id.
  if (rules.temperature == 0) return static_cast<std::int32_t>(std::max_element(u.begin(), u.end()) - u.begin());
  std::int32_t drawn = 0;
  double reached = 0;
  for (const Candidate& c : candidates(u, rules)) {
    if (c.probability <= 0) continue;
    drawn = c.id;  // the last one also takes what rounding left of the sum below 1
    reached += c.probability;
    if (uniform < reached) break;
  }
  return drawn;
}

double sampling_uniform(std::uint64_t seed, std::uint64_t sequence, std::size_t position) {
  const PhiloxBlock block = philox(seed, random_stream(RandomPurpose::sample, sequence), position);
  return unit_double(block.word[0], block.word[1]);
}

void model_scores(std::span<const float> logits, const HeadShape& head, std::span<double> scores) {
  for (std::size_t j = 0; j < scores.size(); ++j) {
    const double x = static_cast<double>(head.pre_scale) * logits[j];
    if (!std::isfinite(x)) {
      throw Error(Exit::bad_data, fmt::format("the model's score of token {} is not a finite number", j),
                  "check the weights with `nll verify`");
    }
    scores[j] = head.softcap > 0 ? head.softcap * std::tanh(x / head.softcap) : x;
  }
}

double log_probability(std::span<const double> scores, std::int32_t id) { return log_probability(scores, id, 1); }

double log_probability(std::span<const double> scores, std::int32_t id, double temperature) {
  CHECK(temperature > 0);
  const double maximum = *std::max_element(scores.begin(), scores.end());
  double denominator = 0;
  for (double u : scores) denominator += std::exp((u - maximum) / temperature);
  return (scores[static_cast<std::size_t>(id)] - maximum) / temperature - std::log(denominator);
}

}  // namespace nll
