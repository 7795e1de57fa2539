// Rollout: completions that were sampled for the prompts of one stretch of the data, what they were worth, and how they
// become the micro-batches of several optimizer steps. All ranks hold all of it, so that nothing of it depends on their
// number.
//   B sequences of a micro-batch, T context, n tokens of a completion, its end of text included
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "src/objectives/metrics.h"
#include "src/train/step_source.h"

namespace nll {

// A completion. Which of the vectors are filled depends on the objective.
struct Completion {
  std::int64_t record = 0;
  std::vector<std::int32_t> tokens;  // prompt and completion
  std::int64_t prompt_tokens = 0;
  std::int64_t gold_tokens = 0;  // leading completion tokens that are the record's own (mixer)
  bool ended = false;            // by itself; else it was cut off
  bool learned = true;           // false: its sampled tokens have no targets
  double reward = 0;             // NaN: it could not be scored
  std::vector<double> rule_rewards;
  std::vector<float> sampled_logp;          // (n) as the generator had it; NaN for gold tokens
  std::vector<float> logp, reference_logp;  // (n) of the weights that sampled, of the reference
  std::vector<float> values;                // (n + 1) of the scalar head; the last after the last token
  double advantage = 0;
  std::vector<double> token_advantages, returns;  // (n)

  std::int64_t completion_tokens() const { return static_cast<std::int64_t>(tokens.size()) - prompt_tokens; }
};

struct Rollout {
  std::int64_t position = 0;            // where its prompts begin in the data
  std::int64_t steps_begun = 0;         // optimizer steps that have learned from it
  std::int64_t gold_tokens = 0;         // of a completion, at most
  std::vector<Completion> completions;  // in the order of prompts, those of a prompt in a row
};

// Bytes of completions, the same on every machine; numbers come back bit for bit.
std::string pack_completions(const std::vector<Completion>& completions);
// Throws Error(bad_data) led by `place` for anything that pack_completions() does not give for ids of `vocabulary` and
// sequences of at most `context` tokens.
std::vector<Completion> unpack_completions(std::string_view bytes, std::int64_t vocabulary, std::int64_t context,
                                           const std::string& place);

// How a rollout is cut into optimizer steps.
struct RolloutCut {
  std::int64_t completions = 1;  // of a rollout
  std::int64_t epochs = 1, mini_batches = 1;
  std::int64_t sequences = 1;  // B
  std::int64_t context = 0;    // T
  std::int64_t rank = 0, ranks = 1;
  std::uint64_t seed = 0;
  std::int32_t padding = 0;

  std::int64_t steps() const { return epochs * mini_batches; }
  // Of a step on each rank, the same in all of them.
  std::int64_t micro_batches() const;
  // The completions that step `k` of rollout `index` learns from, on all ranks: of each epoch another order, cut into
  // mini-batches. Of these a rank takes one contiguous part.
  std::vector<std::int64_t> of_step(std::int64_t index, std::int64_t k) const;
  std::vector<std::int64_t> of_rank(const std::vector<std::int64_t>& all) const;
};

// A micro-batch of at most B completions, fillers behind them, with the vectors that `needs` names. Completions lack
// none of those.
StepBatch rollout_batch(const std::vector<const Completion*>& completions, const RolloutCut& cut, const Needs& needs);
// This rank's part of step `k` of rollout `index`.
std::vector<StepBatch> rollout_batches(const Rollout& rollout, const RolloutCut& cut, std::int64_t index,
                                       std::int64_t k, const Needs& needs);

}  // namespace nll
