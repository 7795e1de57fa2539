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

TrainStep::TrainStep(const Config& config, const TrainPlan& plan, const ParameterTable& table, Backend& backend,
                     Collective& collective)
    : graphs_(config.cuda.graphs),
      tree_(config.dist.reduce == "tree"),
      scaled_(plan.numerics.compute == DType::f16),
      micro_batches_(plan.micro_batches),
      tokens_(plan.sequences * config.model.context),
      model_(config.model),
      device_(*backend.device),
      ops_(*backend.ops),
      collective_(collective),
      weight_arena_(allocate(device_, plan, "weights")),
      rounded_arena_(allocate(device_, plan, "rounded weights")),
      gradient_arena_(allocate(device_, plan, "gradients")),
      tree_arena_(allocate(device_, plan, "gradient tree")),
      input_arena_(allocate(device_, plan, "batch")),
      weights_(computed_with(table, config.model, weight_arena_, rounded_arena_, plan.numerics)),
      gradients_(gpt_views(table, config.model, gradient_arena_[0])),
      optimizer_(config, table, ops_, device_, plan.numerics, plan.owned(collective.world().rank)),
      rank_update_(plan.buckets, config.dist.shard_optimizer, collective, device_, ops_, optimizer_, weight_arena_[0],
                   rounded_arena_.planned() ? rounded_arena_[0] : Tensor(), gradient_arena_[0]),
      gpt_(config.model, ops_, device_, plan.sequences, config.model.context, Pass::training, plan.numerics),
      head_(config.model, config.head, ops_, device_, tokens_, plan.numerics),
      objective_(make_objective(config.objective)),
      token_ids_(input_arena_[tokens_slot]),
      targets_(input_arena_[targets_slot].reshape({tokens_})),
      coefficients_(input_arena_[coefficients_slot]),
      dropout_offset_(input_arena_[dropout_slot]),
      dropout_key_{static_cast<std::uint64_t>(config.run.seed), 0, 0, dropout_offset_} {
  const std::size_t parts = rank_update_.buckets().size();
  for (std::vector<Piece>* pieces : {&forward_, &first_backward_, &further_backward_}) {
    for (std::size_t k = 0; k < parts; ++k) pieces->emplace_back();
  }
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

// Bucket k holds the layers from its first_layer up to that of bucket k - 1, which was complete before it.
void TrainStep::forward() {
  const auto& buckets = rank_update_.buckets();
  for (std::size_t k = buckets.size(); k-- > 0;) {
    // The last norm that these layers read is the first of the bucket above.
    rank_update_.need(k);
    if (k > 0) rank_update_.need(k - 1);
    forward_[k].run(device_, graphs_, [this, k] { forward_part(k); });
  }
}

void TrainStep::forward_part(std::size_t k) {
  const auto& buckets = rank_update_.buckets();
  if (k + 1 == buckets.size()) gpt_.begin_forward(weights_, token_ids_, &dropout_key_);
  gpt_.forward_layers(weights_, buckets[k].first_layer, k == 0 ? model_.layers : buckets[k - 1].first_layer);
  if (k == 0 && !objective_->one_pass()) head_.score(gpt_.hidden(), targets_, weights_.wte, false);
}

void TrainStep::backward(std::int64_t micro_batch) {
  const Into into = micro_batch == 0 || tree_ ? Into::write : Into::add;
  std::vector<Piece>& pieces = into == Into::write ? first_backward_ : further_backward_;
  const bool last = micro_batch + 1 == micro_batches_;
  for (std::size_t k = 0; k < pieces.size(); ++k) {
    pieces[k].run(device_, graphs_, [this, k, into] { backward_part(k, into); });
    if (last) {
      if (tree_) add_earlier(micro_batch, rank_update_.buckets()[k].bucket);
      rank_update_.reduce(k);
    }
    collective_.progress();
  }
  // A loss that is not finite can come with gradients that are: neither may reach the weights.
  ops_.find_nonfinite(optimizer_.guard(), micro_batch == 0 ? Into::write : Into::add,
                      head_.statistics_block().slice(0, Head::finite_rows));
  if (tree_ && !last) keep_for_later(micro_batch);
}

void TrainStep::backward_part(std::size_t k, Into into) {
  const auto& buckets = rank_update_.buckets();
  if (k == 0) {
    head_.train(gpt_.dhidden(), gradients_.wte, into, gpt_.hidden(), targets_, coefficients_, weights_.wte,
                scaled_ ? optimizer_.loss_scale() : Tensor());
    gpt_.begin_backward(weights_, gradients_, into, gpt_.dhidden());
  }
  gpt_.backward_layers(weights_, gradients_, into, buckets[k].first_layer,
                       k == 0 ? model_.layers : buckets[k - 1].first_layer);
  if (k + 1 == buckets.size()) gpt_.end_backward(gradients_, into);
}

// Gradients of micro-batches are added like the digits of a binary counter: level j of the tree holds the sum of 2^j of
// them that waits for the next such sum. In this order a rank's sum is a subtree of that of all ranks.
void TrainStep::add_earlier(std::int64_t micro_batch, const Bucket& bucket) {
  const bool last = micro_batch + 1 == micro_batches_;
  bool carry = true;
  for (int level = 0; (std::int64_t{1} << level) <= micro_batch; ++level) {
    const bool full = (micro_batch >> level & 1) != 0;
    carry = carry && full;
    // After the last one the sums that are left over are added as well.
    if (full && (carry || last)) {
      ops_.add(gradient_arena_[0].slice(bucket.begin(), bucket.size()),
               tree_arena_[level].slice(bucket.begin(), bucket.size()));
    }
  }
}

void TrainStep::keep_for_later(std::int64_t micro_batch) {
  for (const GradientBucket& bucket : rank_update_.buckets()) add_earlier(micro_batch, bucket.bucket);
  int level = 0;
  while ((micro_batch >> level & 1) != 0) level += 1;
  device_.copy(tree_arena_[level], gradient_arena_[0]);
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
  const DropoutOffset offset =
      Gpt::dropout_offset(model_, step, (collective_.world().rank * micro_batches_ + micro_batch) * tokens_);
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

bool TrainStep::agree_to_go_on(std::int64_t step, const std::function<bool()>& stop_requested,
                               std::int64_t& valid_tokens) {
  const bool stop = stop_requested();
  if (collective_.alone()) return !stop;
  ControlWord mine;
  mine.step = step;
  mine.valid_tokens = valid_tokens;
  mine.stop = stop ? 1 : 0;
  const Agreement all = collective_.control(mine);
  valid_tokens = all.valid_tokens;
  return !all.stop;
}

bool TrainStep::queue(std::int64_t step, double learning_rate, const std::function<Batch()>& next,
                      const std::function<bool()>& stop_requested) {
  CHECK(ahead() < most_ahead);
  Flight& flight = flights_[static_cast<std::size_t>(queued_ % most_ahead)];
  flight.batches.clear();
  std::int64_t own = 0, valid = 0;
  for (std::int64_t i = 0; i < micro_batches_; ++i) {
    flight.batches.push_back(next());
    own += flight.batches.back().valid_tokens();
  }
  collective_.set_step(step);
  const std::int64_t block = head_.statistics_block().bytes();
  for (std::int64_t i = 0; i < micro_batches_; ++i) {
    valid = own;
    if (!agree_to_go_on(step, stop_requested, valid)) return false;
    const Batch& batch = flight.batches[static_cast<std::size_t>(i)];
    // Two uploads may be on their way: so the device never waits for the host, and the host is never far ahead.
    Input& input = inputs_[next_input_++ % inputs_.size()];
    device_.wait(input.mark);
    upload(input, batch, step, i);
    forward();
    ScoredTokens known;
    if (!objective_->one_pass()) {
      device_.download(scored_.data(), head_.statistics_block());
      known = scored(batch, scored_.data());
    }
    auto* weights = reinterpret_cast<float*>(static_cast<std::uint8_t*>(input.memory.data()) + input.memory.bytes() -
                                             coefficients_.bytes());
    objective_->coefficients(batch, known, valid, std::span(weights, static_cast<std::size_t>(4 * tokens_)));
    device_.upload(coefficients_, weights);
    backward(i);
    input.mark = device_.mark();
    device_.download_later(static_cast<std::uint8_t*>(flight.statistics.data()) + i * block, head_.statistics_block());
  }
  auto* numbers = static_cast<Numbers*>(flight.numbers.data());
  flight.step = step;
  flight.learning_rate = learning_rate;
  numbers->learning_rate = static_cast<float>(learning_rate);
  device_.upload(optimizer_.learning_rate(), &numbers->learning_rate);
  rank_update_.update(graphs_);
  device_.download_later(&numbers->update, optimizer_.state());
  flight.mark = device_.mark();
  queued_ += 1;
  return true;
}

void TrainStep::add_ranks(std::int64_t step, ObjectiveSums& sums) {
  if (collective_.alone()) return;
  ControlWord mine;
  mine.step = step;
  mine.sums[0] = static_cast<double>(sums.tokens);
  mine.sums[1] = static_cast<double>(sums.correct);
  mine.sums[2] = sums.nll;
  mine.sums[3] = sums.objective;
  mine.sums[4] = sums.entropy;
  const Agreement all = collective_.control(mine);
  sums.tokens = static_cast<std::int64_t>(all.sums[0]);
  sums.correct = static_cast<std::int64_t>(all.sums[1]);
  sums.nll = all.sums[2];
  sums.objective = all.sums[3];
  sums.entropy = all.sums[4];
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
  add_ranks(flight.step, outcome.sums);
  outcome.update = static_cast<const Numbers*>(flight.numbers.data())->update;
  outcome.learning_rate = flight.learning_rate;
  finished_ += 1;
  return outcome;
}

}  // namespace nll
