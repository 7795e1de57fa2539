// B sequences of a micro-batch, T context, N = B*T.
#include "src/train/train_step.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace nll {

namespace {

// An arena of the plan, empty where the plan has none of that name.
Arena allocate(Device& device, const TrainPlan& plan, const char* name) {
  for (const ArenaPlan& arena : plan.arenas) {
    if (arena.name() == name) return Arena(device, arena);
  }
  return {};
}

GptTensors computed_with(const ParameterTable& table, const ModelConfig& model, const Arena& master,
                         const Arena& rounded, const Numerics& numerics) {
  return numerics.rounded() ? gpt_views(table, model, master[0], rounded[0]) : gpt_views(table, model, master[0]);
}

// Tokens that are read: prompts and completions, padding left out.
std::int64_t input_tokens(const Batch& batch) {
  if (batch.sequence_info.empty()) return batch.sequences * batch.context;
  std::int64_t tokens = 0;
  for (const SequenceInfo& info : batch.sequence_info) tokens += info.record < 0 ? 0 : info.tokens;
  return tokens;
}

}  // namespace

TrainStep::TrainStep(const Config& config, const TrainPlan& plan, const ParameterTable& table, Backend& backend,
                     Collective& collective)
    : graphs_(config.cuda.graphs),
      micro_batches_(plan.micro_batches),
      positions_(plan.sequences * plan.context),
      device_(*backend.device),
      ops_(*backend.ops),
      collective_(collective),
      weight_arena_(allocate(device_, plan, "weights")),
      rounded_arena_(allocate(device_, plan, "rounded weights")),
      gradient_arena_(allocate(device_, plan, "gradients")),
      tree_arena_(allocate(device_, plan, "gradient tree")),
      weights_(computed_with(table, config.model, weight_arena_, rounded_arena_, plan.numerics)),
      optimizer_(config, table, ops_, device_, plan.numerics, plan.owned(collective.world().rank)),
      rank_update_(plan.buckets, config.dist.shard_optimizer, collective, device_, ops_, optimizer_, weight_arena_[0],
                   rounded_arena_.planned() ? rounded_arena_[0] : Tensor(), gradient_arena_[0]),
      objective_(make_objective(config.objective, config.rollout)),
      one_pass_(objective_->one_pass()),
      mismatched_(objective_->needs().mismatched),
      values_(config.objective.has_scalar_head()),
      mixer_(config.objective.scheduled_sampling, static_cast<std::uint64_t>(config.run.seed)),
      passes_(config, plan, *objective_, backend, collective,
              {weights_, gpt_views(table, config.model, gradient_arena_[0]), gradient_arena_[0], &tree_arena_},
              optimizer_, rank_update_) {
  for (Flight& flight : flights_) {
    if (one_pass_)
      flight.statistics = device_.allocate_host(checked_product(micro_batches_, passes_.statistics_bytes()));
    flight.numbers = device_.allocate_host(sizeof(Numbers));
  }
}

TrainStep::~TrainStep() { device_.synchronize(); }  // what is queued uses memory of this

void TrainStep::round_weights() {
  if (rounded_arena_.planned()) ops_.convert(rounded_arena_[0], weight_arena_[0]);
}

// With `counts` they become those of all ranks.
bool TrainStep::agree_to_go_on(std::int64_t step, const std::function<bool()>& stop_requested, StepCounts* counts) {
  const bool stop = stop_requested();
  if (collective_.alone()) return !stop;
  ControlWord mine;
  mine.step = step;
  mine.stop = stop ? 1 : 0;
  if (counts != nullptr) std::ranges::copy(counts->numbers(), mine.sums);
  const Agreement all = collective_.control(mine);
  if (counts != nullptr) *counts = StepCounts::from_numbers(all.sums);
  return !all.stop;
}

void TrainStep::weigh(Flight& flight, const MicroBatch& part, std::size_t micro_batch) {
  const auto N = static_cast<std::size_t>(positions_);
  coefficients_.resize(4 * N);
  if (values_) dvalues_.resize(N);
  flight.totals.micro_batch = micro_batch;
  flight.sums += objective_->weigh(Step({&part, 1}, flight.data.gold_tokens), flight.totals, {coefficients_, dvalues_});
}

// The first pass of scheduled sampling; the second one reads what is mixed here.
void TrainStep::mix_inputs(Flight& flight, const Batch& batch, std::int64_t micro_batch) {
  passes_.forward();
  const std::int64_t first = (collective_.world().rank * micro_batches_ + micro_batch) * batch.sequences;
  passes_.replace_inputs(mixer_.mix(batch, passes_.score(), flight.step, first, end_of_text_, flight.data.metrics));
}

// Of the whole step, on all ranks, before any of it is weighed.
bool TrainStep::score_mismatched(Flight& flight, const std::function<bool()>& stop_requested) {
  flight.mismatched.clear();
  std::vector<MicroBatch> parts;
  for (std::int64_t i = 0; i < micro_batches_; ++i) {
    if (i > 0 && !agree_to_go_on(flight.step, stop_requested, nullptr)) return false;
    const StepBatch& of = flight.data.batches[static_cast<std::size_t>(i)];
    CHECK(of.mismatched.has_value());
    passes_.begin(*of.mismatched, flight.step, i);
    passes_.forward();
    std::vector<double>& sums = flight.mismatched.emplace_back(completion_sums(*of.mismatched, passes_.score().logp));
    for (std::size_t row = 0; row < sums.size(); ++row) {
      if (of.mismatched->sequence_info[row].record < 0) sums[row] = std::nan("");
    }
    parts.push_back(of.view());
  }
  for (std::size_t i = 0; i < parts.size(); ++i) parts[i].mismatched_sums = flight.mismatched[i];
  flight.totals.statistics = add_over_ranks(collective_, objective_->statistics(Step(parts, flight.data.gold_tokens)),
                                            "statistics of the objective");
  return true;
}

bool TrainStep::queue(std::int64_t step, double learning_rate, StepData data,
                      const std::function<bool()>& stop_requested) {
  CHECK(ahead() < most_ahead);
  CHECK(static_cast<std::int64_t>(data.batches.size()) == micro_batches_);
  Flight& flight = flights_[static_cast<std::size_t>(queued_ % most_ahead)];
  flight.data = std::move(data);
  flight.sums = {};
  flight.totals = {};
  flight.step = step;
  flight.learning_rate = learning_rate;
  collective_.set_step(step);
  std::vector<MicroBatch> parts;
  for (const StepBatch& of : flight.data.batches) parts.push_back(of.view());
  flight.totals.counts = count(Step(parts, flight.data.gold_tokens));
  if (!agree_to_go_on(step, stop_requested, &flight.totals.counts)) return false;
  if (mismatched_ && !score_mismatched(flight, stop_requested)) return false;
  for (std::int64_t i = 0; i < micro_batches_; ++i) {
    if ((i > 0 || mismatched_) && !agree_to_go_on(step, stop_requested, nullptr)) return false;
    const auto index = static_cast<std::size_t>(i);
    const Batch& batch = flight.data.batches[index].batch;
    passes_.begin(batch, step, i);
    if (mixer_.on()) mix_inputs(flight, batch, i);
    passes_.forward();
    if (one_pass_) {
      flight.sums = {};  // nothing is scored yet
      weigh(flight, parts[index], index);
    } else {
      const TokenScores scores = passes_.score();
      MicroBatch part = parts[index];
      part.scored = scores.view(batch);
      part.values = scores.values;
      if (mismatched_) part.mismatched_sums = flight.mismatched[index];
      weigh(flight, part, index);
    }
    passes_.backward(coefficients_, dvalues_);
    if (one_pass_)
      passes_.download_statistics(static_cast<std::uint8_t*>(flight.statistics.data()) +
                                  i * passes_.statistics_bytes());
  }
  auto* numbers = static_cast<Numbers*>(flight.numbers.data());
  numbers->learning_rate = static_cast<float>(learning_rate);
  device_.upload(optimizer_.learning_rate(), &numbers->learning_rate);
  rank_update_.update(graphs_);
  device_.download_later(&numbers->update, optimizer_.state());
  flight.mark = device_.mark();
  queued_ += 1;
  return true;
}

void TrainStep::add_ranks(std::int64_t step, StepOutcome& outcome) {
  if (collective_.alone()) return;
  StepSums& sums = outcome.sums;
  ControlWord mine;
  mine.step = step;
  mine.sums[0] = static_cast<double>(sums.tokens.tokens);
  mine.sums[1] = static_cast<double>(sums.tokens.correct);
  mine.sums[2] = sums.tokens.nll;
  mine.sums[3] = sums.loss;
  mine.sums[4] = sums.tokens.entropy;
  mine.sums[5] = static_cast<double>(outcome.input_tokens);
  const Agreement all = collective_.control(mine);
  sums.tokens.tokens = static_cast<std::int64_t>(all.sums[0]);
  sums.tokens.correct = static_cast<std::int64_t>(all.sums[1]);
  sums.tokens.nll = all.sums[2];
  sums.loss = all.sums[3];
  sums.tokens.entropy = all.sums[4];
  outcome.input_tokens = static_cast<std::int64_t>(all.sums[5]);
  if (!sums.metrics.all().empty()) sums.metrics = add_over_ranks(collective_, sums.metrics);
}

StepOutcome TrainStep::finish() {
  CHECK(ahead() > 0);
  const Flight& flight = flights_[static_cast<std::size_t>(finished_ % most_ahead)];
  device_.wait(flight.mark);
  StepOutcome outcome;
  if (one_pass_) {
    for (std::size_t i = 0; i < flight.data.batches.size(); ++i) {
      const StepBatch& of = flight.data.batches[i];
      const TokenScores scores =
          passes_.read_statistics(of.batch, static_cast<const std::uint8_t*>(flight.statistics.data()) +
                                                static_cast<std::int64_t>(i) * passes_.statistics_bytes());
      MicroBatch part = of.view();
      part.scored = scores.view(of.batch);
      outcome.sums += objective_->weigh(Step({&part, 1}, flight.data.gold_tokens), flight.totals, {});
    }
  } else {
    outcome.sums = flight.sums;
  }
  outcome.sums.metrics += flight.data.metrics;
  for (const StepBatch& of : flight.data.batches) outcome.input_tokens += input_tokens(of.batch);
  outcome.counts = flight.totals.counts;
  outcome.samples = flight.data.samples;
  add_ranks(flight.step, outcome);
  outcome.update = static_cast<const Numbers*>(flight.numbers.data())->update;
  outcome.learning_rate = flight.learning_rate;
  finished_ += 1;
  return outcome;
}

}  // namespace nll
