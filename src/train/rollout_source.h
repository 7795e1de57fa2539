// RolloutSource: optimizer steps on completions that the model samples while it trains. A rollout takes the next
// `rollout.prompts` prompts, writes completions under the weights as they are, gives them rewards and advantages, and
// serves rollout.epochs x rollout.mini_batches steps.
//   B sequences of a micro-batch, T context
//
// Ranks share the prompts of a rollout; after that each knows all completions, so that advantages, the cut into steps
// and what a checkpoint holds do not depend on their number.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/config/config.h"
#include "src/dist/collective.h"
#include "src/infer/batch_generate.h"
#include "src/rewards/rewards.h"
#include "src/text/record_dataset.h"
#include "src/text/tokenizer.h"
#include "src/train/rollout.h"
#include "src/train/rollout_advantages.h"
#include "src/train/rollout_state.h"
#include "src/train/scorer.h"
#include "src/train/shared_pace.h"
#include "src/train/step_source.h"

namespace nll {

// What a rollout works with. All of it must live as long as the source.
struct RolloutParts {
  const Config& config;
  const RecordDataset& dataset;  // prompt_only; mixer: supervised
  const Tokenizer& tokenizer;
  BatchGenerator& generator;
  Scorer& scorer;                              // of B x T, its head at rollout.temperature
  std::function<const GptTensors&()> weights;  // to sample from, as they are now; settled on all ranks
  const GptTensors* reference = nullptr;       // where rollout_passes() says so
  RewardRules& rewards;
  Needs needs;  // of the objective
  Collective& collective;
  std::function<bool()> stop_requested;
  std::int64_t sequences = 1;  // B
  std::int64_t context = 0;    // T; at least rollout_context() (rollout_plan.h)
};

class RolloutSource : public StepSource {
 public:
  explicit RolloutSource(RolloutParts parts);
  ~RolloutSource() override;

  bool next(std::int64_t step, std::int64_t position, StepData& data) override;
  bool reads_weights() const override { return true; }
  void take_back() override;
  // Empty unless a rollout is begun and has steps left. Of rank 0; the others have none.
  std::string state() override;
  void restore(const std::string& state, const std::string& place) override;

  // A few completions of the newest rollout, with their prompts and rewards, for people.
  struct Example {
    std::string prompt, completion;
    double reward = 0;  // NaN: it could not be scored
  };
  std::vector<Example> examples(std::size_t most = 2) const;
  // How many rollouts were made so far, to see whether examples() are new.
  std::int64_t rollouts() const { return rollouts_; }

  // What held-out prompts are worth under the weights as they are: the first `most` records of `dataset`, one
  // completion each at rollout.temperature with random numbers that are the same every time. None: it was asked to
  // stop. All ranks call it; the metrics are of all ranks, the same on each.
  std::optional<Metrics> evaluate(const RecordDataset& dataset, std::int64_t most);

 private:
  struct Prompt;
  Prompt prompt_of(const RecordDataset& dataset, std::int64_t record, std::int64_t gold, std::uint64_t sequence) const;
  std::vector<Prompt> prompts_at(std::int64_t position, std::int64_t gold) const;
  // False: it was asked to stop.
  bool write(std::vector<Completion>& texts, const std::vector<Prompt>& prompts, SharedPace& pace);
  bool score(std::vector<Completion>& texts, SharedPace& pace);
  void give_rewards(std::vector<Completion>& texts, const RecordDataset& dataset);
  std::vector<Completion> of_all_ranks(std::vector<Completion> mine) const;
  void report(const std::vector<Completion>& texts, Metrics& metrics) const;
  bool make(std::int64_t step, std::int64_t position);  // false: it was asked to stop
  RolloutShape shape() const;

  RolloutParts parts_;
  RolloutCut cut_;
  RolloutPasses passes_;
  std::int64_t group_;  // completions of a prompt
  std::optional<Rollout> rollout_;
  Metrics metrics_;  // of the newest rollout
  std::int64_t rollouts_ = 0;
  std::string place_;  // of a restored state
};

}  // namespace nll
