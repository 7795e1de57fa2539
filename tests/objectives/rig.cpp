#include "tests/objectives/rig.h"

#include <algorithm>
#include <cmath>
#include <fstream>

namespace nll::test {

namespace {

// What one micro-batch owns.
struct Part {
  Batch batch;
  std::vector<float> logp, maximum, log_denominator, entropy, mean_logp, values, old, old_values, reference;
  std::vector<std::int32_t> argmax;
  Reals reference_sums, mismatched, mismatched_reference, advantages, token_advantages, returns;
};

bool any(const std::vector<Row>& rows, Reals Row::*field) {
  return std::any_of(rows.begin(), rows.end(), [&](const Row& r) { return !(r.*field).empty(); });
}
bool any(const std::vector<Row>& rows, std::optional<double> Row::*field) {
  return std::any_of(rows.begin(), rows.end(), [&](const Row& r) { return (r.*field).has_value(); });
}

std::size_t context_of(const std::vector<Row>& rows) {
  std::size_t context = 4;
  for (const Row& row : rows) context = std::max(context, row.prompt.size() + row.logp.size() + 1);
  return context;
}

template <class T>
void put(std::vector<T>& all, std::size_t at, const Reals& row) {
  for (std::size_t i = 0; i < row.size(); ++i) all[at + i] = static_cast<T>(row[i]);
}

Part part_of(std::span<const Row> rows, std::size_t size, std::size_t T) {
  Part p;
  const std::size_t N = size * T;
  p.batch.sequences = static_cast<std::int64_t>(size);
  p.batch.context = static_cast<std::int64_t>(T);
  p.batch.tokens.assign(N, 0);
  p.batch.targets.assign(N, -100);
  p.batch.sequence_info.resize(size);
  for (auto* all : {&p.logp, &p.values, &p.old, &p.old_values, &p.reference}) all->assign(N, 0.0f);
  p.maximum.assign(N, 1.25f);
  p.log_denominator.assign(N, 0.5f);
  p.entropy.assign(N, 0.75f);
  p.mean_logp.assign(N, -3.0f);
  p.argmax.assign(N, 7);
  for (auto* all : {&p.reference_sums, &p.mismatched, &p.mismatched_reference, &p.advantages}) all->assign(size, 0.0);
  for (auto* all : {&p.token_advantages, &p.returns}) all->assign(N, 0.0);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Row& row = rows[i];
    const std::size_t at = i * T, begin = at + row.prompt.size();
    SequenceInfo& info = p.batch.sequence_info[i];
    info.record = row.record;
    info.role = row.role;
    info.label = row.label;
    info.margin = row.margin;
    info.prompt_tokens = static_cast<std::int64_t>(row.prompt.size()) + 1;
    info.tokens = info.prompt_tokens + static_cast<std::int64_t>(row.logp.size());
    for (std::size_t t = 0; t < row.prompt.size() && row.count_prompt; ++t) p.batch.targets[at + t] = 7;
    for (std::size_t t = 0; t < row.logp.size(); ++t) {
      if (row.mask.empty() || row.mask[t] != 0) p.batch.targets[begin + t] = 7;
    }
    put(p.logp, at, row.prompt);
    put(p.logp, begin, row.logp);
    put(p.reference, begin, row.reference);
    put(p.old, begin, row.old);
    put(p.values, begin, row.values);
    put(p.old_values, begin, row.old_values);
    put(p.token_advantages, begin, row.token_advantages);
    put(p.returns, begin, row.returns);
    if (row.last_value) p.values[begin + row.logp.size()] = static_cast<float>(*row.last_value);
    p.reference_sums[i] = row.reference_sum.value_or(0);
    p.mismatched[i] = row.mismatched.value_or(0);
    p.mismatched_reference[i] = row.mismatched_reference.value_or(0);
    p.advantages[i] = row.advantage;
  }
  return p;
}

MicroBatch view_of(const Part& p, const std::vector<Row>& rows, bool scored) {
  MicroBatch m;
  m.batch = &p.batch;
  if (scored) {
    m.scored = {p.batch.targets, p.logp, p.maximum, p.log_denominator, p.entropy, p.mean_logp, p.argmax};
  }
  if (any(rows, &Row::values) || any(rows, &Row::last_value)) m.values = p.values;
  if (any(rows, &Row::old)) m.old_logp = p.old;
  if (any(rows, &Row::old_values)) m.old_values = p.old_values;
  if (any(rows, &Row::reference)) m.reference_logp = p.reference;
  if (any(rows, &Row::reference_sum)) m.reference_sums = p.reference_sums;
  if (any(rows, &Row::mismatched)) m.mismatched_sums = p.mismatched;
  if (any(rows, &Row::mismatched_reference)) m.mismatched_reference_sums = p.mismatched_reference;
  if (any(rows, &Row::token_advantages)) m.token_advantages = p.token_advantages;
  if (any(rows, &Row::returns)) m.returns = p.returns;
  m.advantages = p.advantages;
  return m;
}

RowGradient gradient_of(const Row& row, std::span<const double> coefficients, std::span<const double> values) {
  RowGradient g;
  g.coefficients.assign(coefficients.begin(), coefficients.end());
  for (std::size_t t = 0; t < row.prompt.size(); ++t) g.prompt.push_back(coefficients[4 * t]);
  for (std::size_t t = 0; t < row.logp.size(); ++t) {
    g.logp.push_back(coefficients[4 * (row.prompt.size() + t)]);
    g.values.push_back(values[row.prompt.size() + t]);
  }
  g.last_value = values[row.prompt.size() + row.logp.size()];
  return g;
}

}  // namespace

Outcome weigh(const Objective& objective, const std::vector<Row>& rows, const Drive& drive) {
  const std::size_t T = context_of(rows), ranks = drive.cut.ranks;
  const std::size_t groups = rows.size() / drive.together;
  std::vector<std::span<const Row>> mine;
  std::vector<std::vector<Part>> parts(ranks);
  std::size_t most = 1;
  for (std::size_t r = 0; r < ranks; ++r) {
    const std::size_t begin = r * groups / ranks * drive.together, end = (r + 1) * groups / ranks * drive.together;
    mine.push_back(std::span(rows).subspan(begin, end - begin));
    most = std::max(most, end - begin);
  }
  const std::size_t size = drive.cut.per_micro_batch ? drive.cut.per_micro_batch : most;
  const std::size_t micro_batches = (most + size - 1) / size;
  StepTotals totals;
  std::vector<Step> steps;
  for (std::size_t r = 0; r < ranks; ++r) {
    for (std::size_t i = 0; i < micro_batches; ++i) {
      const std::size_t begin = std::min(i * size, mine[r].size()), end = std::min(begin + size, mine[r].size());
      parts[r].push_back(part_of(mine[r].subspan(begin, end - begin), size, T));
    }
    std::vector<MicroBatch> views;
    for (const Part& part : parts[r]) views.push_back(view_of(part, rows, drive.scored));
    steps.emplace_back(views, drive.gold_tokens);
    const std::array<double, StepCounts::size> numbers = count(steps.back()).numbers();
    totals.counts += StepCounts::from_numbers(numbers);
  }
  for (const Step& step : steps) {
    if (!drive.scored) break;
    const Reals own = objective.statistics(step);
    totals.statistics.resize(own.size());
    for (std::size_t i = 0; i < own.size(); ++i) totals.statistics[i] += own[i];
  }
  Outcome outcome;
  for (std::size_t r = 0; r < ranks; ++r) {
    const std::size_t N = micro_batches * size * T;
    Reals coefficients(4 * N, 99.0), values(N, 99.0);
    const StepSums sums = objective.weigh(steps[r], totals, {coefficients, values});
    if (r == 0) {
      outcome.sums = sums;
    } else {
      // As another rank would: by numbers, names being known.
      outcome.sums.loss += sums.loss;
      outcome.sums.tokens += sums.tokens;
      outcome.sums.metrics.add_numbers(sums.metrics.numbers());
    }
    for (std::size_t i = 0; i < mine[r].size(); ++i) {
      outcome.rows.push_back(gradient_of(mine[r][i], std::span(coefficients).subspan(4 * i * T, 4 * T),
                                         std::span(values).subspan(i * T, T)));
    }
  }
  return outcome;
}

void expect_derivatives(const Objective& objective, const std::vector<Row>& rows, const Drive& drive) {
  const Outcome outcome = weigh(objective, rows, drive);
  const double h = 0x1p-10;  // exact in the floats that hold the inputs
  const auto difference = [&](auto at) {
    std::vector<Row> changed = rows;
    at(changed) += h;
    const double above = weigh(objective, changed, drive).sums.loss;
    at(changed) -= 2 * h;
    return (above - weigh(objective, changed, drive).sums.loss) / (2 * h);
  };
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::size_t t = 0; t < rows[i].logp.size(); ++t) {
      const double expected = difference([&](std::vector<Row>& r) -> double& { return r[i].logp[t]; });
      EXPECT_NEAR(outcome.rows[i].logp[t], expected, 2e-6) << "row " << i << " token " << t;
    }
    for (std::size_t t = 0; t < rows[i].prompt.size(); ++t) {
      const double expected = difference([&](std::vector<Row>& r) -> double& { return r[i].prompt[t]; });
      EXPECT_NEAR(outcome.rows[i].prompt[t], expected, 2e-6) << "row " << i << " prompt token " << t;
    }
    if (rows[i].last_value) {
      const double expected = difference([&](std::vector<Row>& r) -> double& { return *r[i].last_value; });
      EXPECT_NEAR(outcome.rows[i].last_value, expected, 2e-6) << "row " << i;
    }
  }
}

ObjectiveSettings settings_of(const std::string& kind) {
  ObjectiveSettings settings;
  settings.kind = kind;
  return settings;
}

const nlohmann::json& vectors() {
  static const nlohmann::json all = [] {
    std::ifstream file(NLL_SOURCE_DIR "/tests/objectives/fixtures/objective_vectors.json");
    return nlohmann::json::parse(file);
  }();
  return all;
}

const nlohmann::json& vector_case(const std::string& name) {
  for (const nlohmann::json& c : vectors()["objectives"]) {
    if (c["name"] == name) return c;
  }
  throw std::logic_error("no vector named " + name);
}

void expect_close(double found, double expected, const std::string& what) {
  EXPECT_NEAR(found, expected, 1e-12 * std::max(1.0, std::abs(expected))) << what;
}

void expect_close(const Reals& found, const Reals& expected, const std::string& what) {
  ASSERT_EQ(found.size(), expected.size()) << what;
  for (std::size_t i = 0; i < found.size(); ++i) expect_close(found[i], expected[i], what + " " + std::to_string(i));
}

void expect_metric(const Outcome& outcome, const std::string& name, double expected) {
  const std::optional<double> found = outcome.sums.metrics.value(name);
  ASSERT_TRUE(found.has_value()) << name;
  expect_close(*found, expected, name);
}

void expect_sums(const Outcome& outcome, const nlohmann::json& c) {
  expect_close(outcome.sums.loss, c["loss"].get<double>(), "loss");
  for (const auto& [name, value] : c["metrics"].items()) expect_metric(outcome, name, value.get<double>());
}

std::vector<Row> pairs_of_case(const nlohmann::json& c) {
  const nlohmann::json& in = c["inputs"];
  std::vector<Row> rows;
  for (std::size_t i = 0; i < in["chosen"].size(); ++i) {
    for (const std::string side : {"chosen", "rejected"}) {
      Row row;
      row.logp = in[side][i].get<Reals>();
      if (in.contains("ref_" + side)) row.reference = in["ref_" + side][i].get<Reals>();
      if (in.contains("prompt")) row.prompt = in["prompt"][i].get<Reals>();
      row.record = static_cast<std::int64_t>(i);
      row.role = side == "chosen" ? 0 : 1;
      rows.push_back(row);
    }
  }
  return rows;
}

void expect_pair_gradients(const Outcome& outcome, const nlohmann::json& c) {
  const nlohmann::json& expected = c["grad"];
  for (std::size_t i = 0; i < expected["chosen"].size(); ++i) {
    expect_close(outcome.rows[2 * i].logp, expected["chosen"][i].get<Reals>(), "chosen");
    expect_close(outcome.rows[2 * i + 1].logp, expected["rejected"][i].get<Reals>(), "rejected");
  }
}

}  // namespace nll::test
