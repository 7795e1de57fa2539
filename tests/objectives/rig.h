// Rows of numbers laid out as steps on any number of ranks, weighed as a trainer does it, and what came out by row.
#pragma once
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "src/objectives/objective.h"

namespace nll::test {

using Reals = std::vector<double>;

// One sequence: n completion tokens after a prompt of prompt.size() + 1 tokens. Entries are by completion token; what
// is empty in all rows is not given to the objective.
struct Row {
  Reals logp{};
  Reals mask{};  // empty: every token counts
  Reals prompt{};
  bool count_prompt = false;  // the prompt's tokens are targets too
  Reals reference{}, old{}, token_advantages{}, returns{}, values{}, old_values{};
  std::optional<double> reference_sum{}, mismatched{}, mismatched_reference{}, last_value{};
  double advantage = 0, margin = 0;
  std::int64_t record = 0;
  std::int32_t role = 0;
  bool label = true;
};

struct RowGradient {
  Reals prompt, logp, values;  // d loss / d those of the row
  double last_value = 0;
  Reals coefficients;  // all, (T,4)
};

// What all ranks together give.
struct Outcome {
  StepSums sums;
  std::vector<RowGradient> rows;  // in the order of ranks
};

// How a step is cut.
struct Cut {
  std::size_t ranks = 1;
  std::size_t per_micro_batch = 0;  // 0: all rows of a rank; the last micro-batch is filled with fillers
};

// Weighs `rows`, cut into equal parts (rounded to `together` rows) over the ranks. Without `scored` nothing of the
// policy is known.
struct Drive {
  Cut cut{};
  std::size_t together = 1;
  bool scored = true;
  std::int64_t gold_tokens = 0;
};
Outcome weigh(const Objective& objective, const std::vector<Row>& rows, const Drive& drive = {});

// Compares every gradient by a log-probability of the completion, and by a value, with the central difference of the
// loss.
void expect_derivatives(const Objective& objective, const std::vector<Row>& rows, const Drive& drive = {});

ObjectiveSettings settings_of(const std::string& kind);

// ---- the reference vectors (scripts/fixtures/make_objective_vectors.py)
// ----------------------------------------------
const nlohmann::json& vectors();
const nlohmann::json& vector_case(const std::string& name);
// Relative 1e-12, the accuracy of the vectors.
void expect_close(double found, double expected, const std::string& what);
void expect_close(const Reals& found, const Reals& expected, const std::string& what);
// Loss and metrics of a case.
void expect_sums(const Outcome& outcome, const nlohmann::json& c);
void expect_metric(const Outcome& outcome, const std::string& name, double expected);
// Pairs of the case's chosen and rejected (with references where it has them): rows 0, 1 the first pair.
std::vector<Row> pairs_of_case(const nlohmann::json& c);
// Gradients of such rows against grad.chosen and grad.rejected.
void expect_pair_gradients(const Outcome& outcome, const nlohmann::json& c);

}  // namespace nll::test
