// Objective: a weighting of the head. It sees token log-probabilities on (B,T) and answers with four coefficients per
// token, d loss / d {logp, lse, mean_logp, entropy}; the head turns them into the gradient of the logits. It knows
// neither the vocabulary nor the device.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "src/config/config.h"
#include "src/text/batch.h"

namespace nll {

// What the head reports of N = B*T tokens; zeros where the target is ignored.
struct ScoredTokens {
  std::span<const std::int32_t> targets;
  std::span<const float> logp, maximum, log_denominator, entropy, mean_logp;
  std::span<const std::int32_t> argmax;
};

// Sums over valid tokens; a batch may be added up from its parts in any split. Doubles, so that the split does not
// show.
struct ObjectiveSums {
  std::int64_t tokens = 0;   // valid targets
  std::int64_t correct = 0;  // argmax == target
  double nll = 0;            // -sum logp
  double objective = 0;      // what is minimised, before it is divided by the normaliser
  double entropy = 0;
  ObjectiveSums& operator+=(const ObjectiveSums& other);
};

class Objective {
 public:
  virtual ~Objective() = default;
  // True: the coefficients follow from the batch alone, so the head runs forward and backward in one pass.
  virtual bool one_pass() const = 0;
  // Coefficients (N,4) = g_logp, g_lse, g_unif, g_ent of a micro-batch. `normaliser`: valid tokens of the global batch.
  // `scored` is empty when one_pass(). Ignored targets get four zeros.
  virtual void coefficients(const Batch& batch, const ScoredTokens& scored, std::int64_t normaliser,
                            std::span<float> out) const = 0;
  virtual ObjectiveSums sums(const ScoredTokens& scored) const = 0;
};

std::unique_ptr<Objective> make_objective(const ObjectiveConfig& config);

}  // namespace nll
