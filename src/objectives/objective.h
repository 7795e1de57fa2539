// Objective: a weighting of the head. It sees token log-probabilities and answers with four coefficients per token,
// d loss / d {logp, lse, mean_logp, entropy}; the head turns them into the gradient of the logits. It knows neither the
// vocabulary nor the device, and it keeps no state: every member is a pure function of its arguments.
//
// How an optimizer step is driven, on every rank alike:
//   counts = count(step), added up over ranks           before the forward pass: it is what losses are divided by
//   one_pass():  of each micro-batch weigh(without scores) -> coefficients; forward and backward; weigh(scored, no
//                gradient) -> sums
//   otherwise:   of each micro-batch forward -> log-probabilities; weigh(scored) -> coefficients and sums; backward
//   mismatched:  first a forward pass of the mismatched completions of all micro-batches; statistics(step), added up
//                over ranks; then each micro-batch as otherwise
//   sums, added up over ranks: the loss of the step and its metrics
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "src/config/config.h"
#include "src/objectives/metrics.h"
#include "src/objectives/settings.h"
#include "src/objectives/step.h"
#include "src/text/batch.h"

namespace nll {

// Sums over valid tokens; a batch may be added up from its parts in any split. Doubles, so that the split does not
// show.
struct ObjectiveSums {
  std::int64_t tokens = 0;   // valid targets
  std::int64_t correct = 0;  // argmax == target
  double nll = 0;            // -sum logp
  double entropy = 0;
  ObjectiveSums& operator+=(const ObjectiveSums& other);
};

// Which spans of MicroBatch an objective reads.
struct Needs {
  bool head = true;      // scored; false: the vocabulary plays no part
  bool records = false;  // Batch::sequence_info, with the sequences of a record in a row: roles 0, 1, ..., k
  bool values = false;   // a scalar head
  bool reference_sums = false;
  bool reference_logp = false;
  bool old_logp = false;
  bool old_values = false;
  bool mismatched = false;  // mismatched_sums and mismatched_reference_sums
  bool advantages = false;
  bool token_advantages = false;
  bool returns = false;
};

// What was added up over ranks.
struct StepTotals {
  StepCounts counts;
  std::vector<double> statistics;
  std::size_t micro_batch = 0;  // which one of the step Step begins with
};

// Where the derivatives go, in doubles; either may be empty: not wanted. Positions are those of Step.
struct StepGradient {
  std::span<double> coefficients;  // (N,4): g_logp, g_lse, g_unif, g_ent
  std::span<double> values;        // (N): by the output of the scalar head
  enum Which : std::size_t { logp, lse, uniform, entropy };
  void add(const Sequence& s, std::size_t t, Which which, double g) const {
    if (!coefficients.empty()) coefficients[4 * (s.offset + t) + which] += g;
  }
  // The same to every counted token of the completion.
  void add_completion(const Sequence& s, double g) const {
    if (!coefficients.empty()) s.completion([&](std::size_t t) { add(s, t, logp, g); });
  }
  void add_value(const Sequence& s, std::size_t t, double g) const {
    if (!values.empty()) values[s.offset + t] += g;
  }
};

// This rank's part of a step; adding up over ranks gives the step.
struct StepSums {
  double loss = 0;       // what is minimised
  ObjectiveSums tokens;  // over all valid targets
  Metrics metrics;       // the same names on every rank
  StepSums& operator+=(const StepSums& other);
};

class Objective {
 public:
  virtual ~Objective() = default;

  virtual Needs needs() const = 0;
  // True: the coefficients follow from what is known before the forward pass, so the head runs forward and backward in
  // one pass.
  virtual bool one_pass() const = 0;
  // Numbers that must be added up over ranks before weigh(); of a whole step, which needs no scores for it.
  virtual std::vector<double> statistics(const Step&) const { return {}; }
  // Derivatives of the step's loss, zero where a target is ignored, and this rank's part of the sums. Without scores
  // (one_pass() only) the sums are empty.
  StepSums weigh(const Step& step, const StepTotals& totals, const StepGradient& out) const;

 protected:
  // `z_loss` and `entropy_bonus` are added to every objective by weigh(), as means over valid tokens: never scaled by
  // the signed weights of an objective, which would turn them around.
  Objective(double z_loss, double entropy_bonus) : z_loss_(z_loss), entropy_bonus_(entropy_bonus) {}
  explicit Objective(const ObjectiveSettings& settings) : Objective(settings.z_loss, settings.entropy_bonus) {}
  // What one_pass() must say when lse takes part.
  bool lse_is_known() const { return z_loss_ == 0; }

 private:
  // Adds to `out` and to `sums` what is the objective's own; `out` is zero before. Metrics are declared even where
  // nothing is observed.
  virtual void weigh_step(const Step& step, const StepTotals& totals, const StepGradient& out,
                          StepSums& sums) const = 0;
  void regularise(const Step& step, const StepTotals& totals, const StepGradient& out, StepSums& sums) const;
  double z_loss_, entropy_bonus_;
};

// By settings.kind. Throws Error(usage) with the key and the remedy.
std::unique_ptr<Objective> make_objective(const ObjectiveSettings& settings);
std::unique_ptr<Objective> make_objective(const ObjectiveConfig& objective, const RolloutConfig& rollout = {});
// All kinds, in the order of the table.
std::vector<std::string> objective_kinds();

}  // namespace nll
