// Step: all sequences of one optimizer step on one rank, as an objective sees them: token log-probabilities and what
// was known of the tokens before. Views; nothing is copied.
//   B sequences of a micro-batch, T positions, N = sum of B*T over the micro-batches of the step, in their order
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "src/text/batch.h"

namespace nll {

// What the head reports of B*T tokens; zeros where the target is ignored.
struct ScoredTokens {
  std::span<const std::int32_t> targets;
  std::span<const float> logp, maximum, log_denominator, entropy, mean_logp;
  std::span<const std::int32_t> argmax;
};

// One micro-batch. What an objective does not need (Needs) may stay empty. Values (B,T) are indexed like targets: entry
// t belongs to the token that position t predicts.
struct MicroBatch {
  const Batch* batch = nullptr;
  ScoredTokens scored{};                                // of the policy; empty before its forward pass
  std::span<const float> values{};                      // (B,T) of the scalar head
  std::span<const float> old_logp{};                    // (B,T) of the policy that sampled; empty: the policy itself
  std::span<const float> old_values{};                  // (B,T)
  std::span<const float> reference_logp{};              // (B,T)
  std::span<const double> reference_sums{};             // (B) over the completion; empty: from reference_logp
  std::span<const double> mismatched_sums{};            // (B) KTO: policy, completion of another record; NaN: none
  std::span<const double> mismatched_reference_sums{};  // (B)
  std::span<const double> advantages{};                 // (B)
  std::span<const double> token_advantages{};           // (B,T)
  std::span<const double> returns{};                    // (B,T)
};

// One sequence: its row of everything above.
struct Sequence {
  SequenceInfo info;
  std::size_t micro_batch = 0;
  std::size_t offset = 0;          // of its first position among the N of the step
  std::size_t begin = 0, end = 0;  // positions that predict its completion
  std::int64_t valid = 0;          // targets that count, prompt included
  std::int64_t tokens = 0;         // those of the completion
  std::span<const std::int32_t> targets;
  ScoredTokens scored;
  std::span<const float> values, old_logp, old_values, reference_logp;
  std::span<const double> token_advantages, returns;
  std::optional<double> reference_total, mismatched, mismatched_reference;
  double advantage = 0;

  bool is_scored() const { return !scored.logp.empty(); }
  bool counts(std::size_t t) const { return targets[t] >= 0; }
  // Sum over the completion of the policy's and of the reference's log-probabilities, first token first.
  double logp_sum() const { return sum(scored.logp); }
  double reference_sum() const;
  // That sum over any row of the sequence.
  double sum(std::span<const float> row) const;
  // Calls f(t) for each counted position: of the completion, of the prompt, of both.
  template <class F>
  void completion(F f) const {
    between(begin, end, f);
  }
  template <class F>
  void prompt(F f) const {
    between(0, begin, f);
  }
  template <class F>
  void everything(F f) const {
    between(0, targets.size(), f);
  }

 private:
  template <class F>
  void between(std::size_t from, std::size_t to, F f) const {
    for (std::size_t t = from; t < to; ++t) {
      if (counts(t)) f(t);
    }
  }
};

// The positions [begin, end) of a row of `context` that predict the completion: token i is predicted at position i - 1.
struct Positions {
  std::size_t begin = 0, end = 0;
};
Positions completion_positions(const SequenceInfo& info, std::int64_t context);

class Step {
 public:
  // `gold_tokens`: MIXER's count of leading completion tokens that are gold.
  explicit Step(std::span<const MicroBatch> micro_batches, std::int64_t gold_tokens = 0);
  // Fillers left out.
  const std::vector<Sequence>& sequences() const { return sequences_; }
  std::size_t micro_batches() const { return micro_batches_; }
  std::size_t positions() const { return positions_; }  // N
  std::int64_t gold_tokens() const { return gold_tokens_; }

 private:
  std::vector<Sequence> sequences_;
  std::size_t micro_batches_ = 0, positions_ = 0;
  std::int64_t gold_tokens_ = 0;
};

// What losses are divided by. Counted before the forward pass and added up over ranks.
struct StepCounts {
  std::int64_t sequences = 0;             // fillers left out
  std::int64_t scored_sequences = 0;      // those with at least one valid target
  std::int64_t records = 0;               // sequences of role 0: pairs, or records with their negatives
  std::int64_t tokens = 0;                // valid targets
  std::int64_t completion_tokens = 0;     // those of completions
  std::int64_t chosen_tokens = 0;         // those of completions of role 0
  std::int64_t chosen_prompt_tokens = 0;  // valid targets in prompts of role 0
  std::int64_t micro_batches = 0;
  static constexpr std::size_t size = 8;
  StepCounts& operator+=(const StepCounts& other);
  // As plain numbers for an exchange, in the order above.
  std::array<double, size> numbers() const;
  static StepCounts from_numbers(std::span<const double> numbers);
};
StepCounts count(const Step& step);

}  // namespace nll
