// From rewards to advantages and returns, by objective: docs/objectives.md. Pure; the same on every rank.
#pragma once
#include <cstdint>
#include <vector>

#include "src/config/config.h"
#include "src/objectives/metrics.h"
#include "src/objectives/objective.h"
#include "src/train/rollout.h"

namespace nll {

// The passes over completions that come between sampling them and learning from them.
struct RolloutPasses {
  bool policy = false;     // log-probabilities of the weights that sampled
  bool values = false;     // of their scalar head
  bool reference = false;  // log-probabilities of the reference
};
// `needs`: of the objective.
RolloutPasses rollout_passes(const Config& config, const Needs& needs);
// Completions of a prompt: rollout.completions, where auto depends on the objective.
std::int64_t completions_of_a_prompt(const Config& config);

// Fills advantage, token_advantages, returns and learned, as the objective reads them. Adds reward, objective/* and
// completions/* to `metrics`; the names are the same whatever was sampled.
void add_advantages(std::vector<Completion>& completions, const Config& config, Metrics& metrics);

}  // namespace nll
