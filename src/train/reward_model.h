// RewardModel: a model of objective.kind "reward" that scores completions at their last token.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "src/rewards/rewards.h"
#include "src/text/tokenizer.h"
#include "src/train/model_folder.h"
#include "src/train/scorer.h"

namespace nll {

class RewardModel {
 public:
  // Device memory besides the weights, for micro-batches of `sequences` x `context`.
  static std::vector<ArenaPlan> plans(const PublishedModel& model, const Numerics& numerics, std::int64_t sequences,
                                      std::int64_t context);
  // Throws Error(usage) that names reward.model where the model has no scalar head, another tokenizer, or a context
  // below `context`.
  RewardModel(OpenModel model, const Tokenizer& tokenizer, Device& device, Ops& ops, std::int64_t sequences,
              std::int64_t context);
  // NaN for requests without ids.
  std::vector<double> operator()(std::span<const RewardRequest> requests);

 private:
  OpenModel model_;
  std::int64_t sequences_, context_;
  Gpt gpt_;
  Head head_;
  Scorer scorer_;
};

}  // namespace nll
