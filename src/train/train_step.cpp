// B sequences of a micro-batch, T context, N = B*T.
#include "src/train/train_step.h"

#include <cstring>

namespace nll {

namespace {

// Of the arena "batch", in the order of make_plan().
enum { tokens_slot, targets_slot, coefficients_slot, dropout_slot };

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

}  // namespace

TrainStep::TrainStep(const Config& config, const TrainPlan& plan, const ParameterTable& table, Backend& backend)
    : graphs_(config.cuda.graphs),
      scaled_(plan.numerics.compute == DType::f16),
      micro_batches_(plan.micro_batches),
      tokens_(plan.sequences * config.model.context),
      model_(config.model),
      device_(*backend.device),
      ops_(*backend.ops),
      weight_arena_(allocate(device_, plan, "weights")),
      rounded_arena_(allocate(device_, plan, "rounded weights")),
      gradient_arena_(allocate(device_, plan, "gradients")),
      input_arena_(allocate(device_, plan, "batch")),
      weights_(computed_with(table, config.model, weight_arena_, rounded_arena_, plan.numerics)),
      gradients_(gpt_views(table, config.model, gradient_arena_[0])),
      optimizer_(config, table, ops_, device_, plan.numerics),
      gpt_(config.model, ops_, device_, plan.sequences, config.model.context, Pass::training, plan.numerics),
      head_(config.model, config.head, ops_, device_, tokens_, plan.numerics),
      objective_(make_objective(config.objective)),
      token_ids_(input_arena_[tokens_slot]),
      targets_(input_arena_[targets_slot].reshape({tokens_})),
      coefficients_(input_arena_[coefficients_slot]),
      dropout_offset_(input_arena_[dropout_slot]),
      dropout_key_{static_cast<std::uint64_t>(config.run.seed), 0, 0, dropout_offset_} {
  const std::int64_t block = head_.statistics_block().bytes();
  for (Input& input : inputs_) {
    input.memory = device_.allocate_host(token_ids_.bytes() + targets_.bytes() + coefficients_.bytes() +
                                         static_cast<std::int64_t>(sizeof(DropoutOffset)));
  }
  for (Flight& flight : flights_) {
    flight.statistics = device_.allocate_host(checked_product(micro_batches_, block));
    flight.numbers = device_.allocate_host(sizeof(Numbers));
  }
  if (!objective_->one_pass()) scored_.resize(static_cast<std::size_t>(block));
}

TrainStep::~TrainStep() { device_.synchronize(); }  // what is queued uses memory of this

void TrainStep::round_weights() {
  if (rounded_arena_.planned()) ops_.convert(rounded_arena_[0], weight_arena_[0]);
}

void TrainStep::run(Piece& piece, void (TrainStep::*work)()) {
  if (piece.recording == nullptr) {
    if (!piece.warm || !graphs_) {
      piece.warm = true;
      return (this->*work)();
    }
    piece.recording = device_.record([this, work] { (this->*work)(); });
  }
  piece.recording->replay();
}

void TrainStep::forward() {
  hidden_ = gpt_.forward(weights_, token_ids_, &dropout_key_);
  if (!objective_->one_pass()) head_.score(hidden_, targets_, weights_.wte, false);
}

void TrainStep::backward(Into into) {
  head_.train(gpt_.dhidden(), gradients_.wte, into, hidden_, targets_, coefficients_, weights_.wte,
              scaled_ ? optimizer_.loss_scale() : Tensor());
  gpt_.backward(weights_, gradients_, into, gpt_.dhidden());
  // A loss that is not finite can come with gradients that are: neither may reach the weights.
  ops_.find_nonfinite(optimizer_.guard(), into, head_.statistics_block().slice(0, Head::finite_rows));
}

void TrainStep::update() {
  optimizer_.update(weight_arena_[0], rounded_arena_.planned() ? rounded_arena_[0] : Tensor(), gradient_arena_[0]);
}

void TrainStep::upload(Input& input, const Batch& batch, std::int64_t step, std::int64_t micro_batch) {
  auto* memory = static_cast<std::uint8_t*>(input.memory.data());
  const auto send = [&](Tensor to, const void* from) {
    std::memcpy(memory, from, static_cast<std::size_t>(to.bytes()));
    device_.upload(to, memory);
    memory += to.bytes();
  };
  CHECK(static_cast<std::int64_t>(batch.tokens.size()) == tokens_);
  send(token_ids_, batch.tokens.data());
  send(targets_, batch.targets.data());
  const DropoutOffset offset = Gpt::dropout_offset(model_, step, micro_batch * tokens_);
  send(dropout_offset_, &offset);
}

ScoredTokens TrainStep::scored(const Batch& batch, const void* block) const {
  const std::size_t N = static_cast<std::size_t>(tokens_);
  const auto* reals = static_cast<const float*>(block);
  const auto row = [&](std::size_t i) { return std::span(reals + i * N, N); };
  return {batch.targets,
          row(0),
          row(1),
          row(2),
          row(3),
          row(4),
          std::span(reinterpret_cast<const std::int32_t*>(reals + Head::finite_rows * N), N)};
}

bool TrainStep::queue(std::int64_t step, double learning_rate, const std::function<Batch()>& next,
                      const std::function<bool()>& stop_requested) {
  CHECK(ahead() < most_ahead);
  Flight& flight = flights_[static_cast<std::size_t>(queued_ % most_ahead)];
  flight.batches.clear();
  std::int64_t valid = 0;
  for (std::int64_t i = 0; i < micro_batches_; ++i) {
    flight.batches.push_back(next());
    valid += flight.batches.back().valid_tokens();
  }
  const std::int64_t block = head_.statistics_block().bytes();
  for (std::int64_t i = 0; i < micro_batches_; ++i) {
    if (stop_requested()) return false;
    const Batch& batch = flight.batches[static_cast<std::size_t>(i)];
    // Two uploads may be on their way: so the device never waits for the host, and the host is never far ahead.
    Input& input = inputs_[next_input_++ % inputs_.size()];
    device_.wait(input.mark);
    upload(input, batch, step, i);
    run(forward_, &TrainStep::forward);
    ScoredTokens known;
    if (!objective_->one_pass()) {
      device_.download(scored_.data(), head_.statistics_block());
      known = scored(batch, scored_.data());
    }
    auto* weights = reinterpret_cast<float*>(static_cast<std::uint8_t*>(input.memory.data()) + input.memory.bytes() -
                                             coefficients_.bytes());
    objective_->coefficients(batch, known, valid, std::span(weights, static_cast<std::size_t>(4 * tokens_)));
    device_.upload(coefficients_, weights);
    if (i == 0) {
      run(first_backward_, &TrainStep::first_backward);
    } else {
      run(further_backward_, &TrainStep::further_backward);
    }
    input.mark = device_.mark();
    device_.download_later(static_cast<std::uint8_t*>(flight.statistics.data()) + i * block, head_.statistics_block());
  }
  auto* numbers = static_cast<Numbers*>(flight.numbers.data());
  flight.learning_rate = learning_rate;
  numbers->learning_rate = static_cast<float>(learning_rate);
  device_.upload(optimizer_.learning_rate(), &numbers->learning_rate);
  run(update_, &TrainStep::update);
  device_.download_later(&numbers->update, optimizer_.state());
  flight.mark = device_.mark();
  queued_ += 1;
  return true;
}

StepOutcome TrainStep::finish() {
  CHECK(ahead() > 0);
  const Flight& flight = flights_[static_cast<std::size_t>(finished_ % most_ahead)];
  device_.wait(flight.mark);
  StepOutcome outcome;
  const std::int64_t block = head_.statistics_block().bytes();
  for (std::size_t i = 0; i < flight.batches.size(); ++i) {
    const auto* statistics =
        static_cast<const std::uint8_t*>(flight.statistics.data()) + static_cast<std::int64_t>(i) * block;
    outcome.sums += objective_->sums(scored(flight.batches[i], statistics));
  }
  outcome.update = static_cast<const Numbers*>(flight.numbers.data())->update;
  outcome.learning_rate = flight.learning_rate;
  finished_ += 1;
  return outcome;
}

}  // namespace nll
