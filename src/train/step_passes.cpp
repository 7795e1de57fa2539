#include "src/train/step_passes.h"

#include <algorithm>
#include <cstring>

namespace nll {

namespace {

// Of the arena "batch", in the order of plan_inputs().
enum { tokens_slot, targets_slot, coefficients_slot, dropout_slot, rows_slot, values_slot, dvalues_slot };

std::size_t size_of(std::int64_t n) { return static_cast<std::size_t>(n); }

}  // namespace

ArenaPlan StepPasses::plan_inputs(const Config& config, std::int64_t sequences, std::int64_t context) {
  const std::int64_t N = checked_product(sequences, context);
  ArenaPlan inputs("batch");
  inputs.add("tokens", DType::i32, {sequences, context});
  inputs.add("targets", DType::i32, {N});
  inputs.add("coefficients", DType::f32, {N, 4});
  inputs.add("dropout offset", DType::u8, {sizeof(DropoutOffset)});
  if (config.objective.of_records()) inputs.add("rows", DType::i32, {N});
  if (config.objective.has_scalar_head()) {
    inputs.add("values", DType::f32, {N});
    inputs.add("gradient of values", DType::f32, {N});
  }
  return inputs;
}

StepPasses::StepPasses(const Config& config, const TrainPlan& plan, const Objective& objective, Backend& backend,
                       Collective& collective, const PassTensors& tensors, AdamWOptimizer& optimizer,
                       RankUpdate& rank_update)
    : graphs_(config.cuda.graphs),
      tree_(config.dist.reduce == "tree"),
      scaled_(plan.numerics.compute == DType::f16),
      choose_rows_(config.objective.of_records()),
      with_head_(objective.needs().head),
      with_values_(config.objective.has_scalar_head()),
      early_score_(!objective.one_pass() && !choose_rows_),
      micro_batches_(plan.micro_batches),
      positions_(plan.sequences * plan.context),
      model_(config.model),
      device_(*backend.device),
      ops_(*backend.ops),
      collective_(collective),
      tensors_(tensors),
      optimizer_(optimizer),
      rank_update_(rank_update),
      gpt_(config.model, ops_, device_, plan.sequences, plan.context, Pass::training, plan.numerics,
           recompute_of(config.batch.recompute)),
      head_(config.model, config.head, ops_, device_, positions_, plan.numerics,
            choose_rows_ ? RowChoice::chosen : RowChoice::all),
      input_arena_(device_, plan_inputs(config, plan.sequences, plan.context)),
      token_ids_(input_arena_[tokens_slot]),
      targets_(input_arena_[targets_slot]),
      coefficients_(input_arena_[coefficients_slot]),
      dropout_offset_(input_arena_[dropout_slot]),
      dropout_key_{static_cast<std::uint64_t>(config.run.seed), 0, 0, dropout_offset_} {
  if (config.objective.of_rollouts()) head_.set_temperature(config.rollout.temperature);
  if (choose_rows_) rows_ = input_arena_[rows_slot];
  if (with_values_) {
    values_ = input_arena_[values_slot];
    dvalues_ = input_arena_[dvalues_slot];
  }
  for (std::vector<Piece>* pieces : {&forward_, &first_backward_, &further_backward_}) {
    for (std::size_t k = 0; k < rank_update_.buckets().size(); ++k) pieces->emplace_back();
  }
  // Tokens may be sent twice.
  const std::int64_t bytes = 2 * token_ids_.bytes() + 2 * targets_.bytes() + coefficients_.bytes() +
                             (with_values_ ? dvalues_.bytes() : 0) + dropout_offset_.bytes();
  for (Input& input : inputs_) input.memory = device_.allocate_host(bytes);
}

void StepPasses::send(Tensor to, const void* from) {
  const auto bytes = size_of(to.bytes());
  std::memcpy(free_, from, bytes);
  device_.upload(to, free_);
  free_ += bytes;
}

void StepPasses::begin(const Batch& batch, std::int64_t step, std::int64_t micro_batch) {
  CHECK(static_cast<std::int64_t>(batch.tokens.size()) == positions_);
  batch_ = &batch;
  micro_batch_ = micro_batch;
  // Two uploads may be on their way: so the device never waits for the host, and the host is never far ahead.
  if (input_ != nullptr) input_->mark = device_.mark();
  input_ = &inputs_[next_input_++ % inputs_.size()];
  device_.wait(input_->mark);
  free_ = static_cast<std::uint8_t*>(input_->memory.data());
  send(token_ids_, batch.tokens.data());
  if (choose_rows_) {
    chosen_ = chosen_rows(batch);
    const auto m = static_cast<std::int64_t>(chosen_.rows.size());
    if (m > 0) {
      send(rows_.slice(0, m), chosen_.rows.data());
      send(targets_.slice(0, m), chosen_.targets.data());
    }
  } else {
    send(targets_, batch.targets.data());
  }
  const DropoutOffset offset =
      Gpt::dropout_offset(model_, step, (collective_.world().rank * micro_batches_ + micro_batch) * positions_);
  send(dropout_offset_, &offset);
}

void StepPasses::replace_inputs(std::span<const std::int32_t> tokens) {
  CHECK(static_cast<std::int64_t>(tokens.size()) == positions_);
  send(token_ids_, tokens.data());
}

// Bucket k holds the layers from its first_layer up to that of bucket k - 1, which was complete before it.
void StepPasses::forward() {
  const auto& buckets = rank_update_.buckets();
  for (std::size_t k = buckets.size(); k-- > 0;) {
    // The last norm that these layers read is the first of the bucket above.
    rank_update_.need(k);
    if (k > 0) rank_update_.need(k - 1);
    forward_[k].run(device_, graphs_, [this, k] { forward_part(k); });
  }
  scored_ = early_score_;
}

void StepPasses::forward_part(std::size_t k) {
  const auto& buckets = rank_update_.buckets();
  if (k + 1 == buckets.size()) gpt_.begin_forward(tensors_.weights, token_ids_, &dropout_key_);
  gpt_.forward_layers(tensors_.weights, buckets[k].first_layer, k == 0 ? model_.layers : buckets[k - 1].first_layer);
  if (k == 0 && early_score_) head_.score(gpt_.hidden(), targets_, tensors_.weights.wte, false);
}

TokenScores StepPasses::score() {
  const auto m = static_cast<std::int64_t>(chosen_.rows.size());
  if (!scored_ && with_head_ && choose_rows_) {
    head_.score(gpt_.hidden(), rows_.slice(0, m), targets_.slice(0, m), tensors_.weights.wte, false);
  } else if (!scored_ && with_head_) {
    head_.score(gpt_.hidden(), targets_, tensors_.weights.wte, false);
  }
  scored_ = true;
  TokenScores scores;
  if (with_head_) {
    block_.resize(size_of(statistics_bytes()));
    device_.download(block_.data(), head_.statistics_block());
    scores = read_statistics(*batch_, block_.data());
  }
  if (with_values_) {
    ops_.scalar_head(values_, gpt_.hidden(), tensors_.weights.score);
    scores.values.resize(size_of(positions_));
    device_.download(scores.values.data(), values_);
  }
  return scores;
}

void StepPasses::backward(std::span<const double> coefficients, std::span<const double> values) {
  CHECK(coefficients.size() == size_of(4 * positions_));
  const bool last = micro_batch_ + 1 == micro_batches_;
  const auto* weights = reinterpret_cast<float*>(free_);
  auto* out = reinterpret_cast<float*>(free_);
  if (choose_rows_) {
    for (const std::int32_t row : chosen_.rows) {
      for (std::size_t c = 0; c < 4; ++c) *out++ = static_cast<float>(coefficients[4 * size_of(row) + c]);
    }
    const auto m = static_cast<std::int64_t>(chosen_.rows.size());
    if (m > 0) device_.upload(coefficients_.slice(0, m), weights);
  } else {
    for (const double g : coefficients) *out++ = static_cast<float>(g);
    device_.upload(coefficients_, weights);
  }
  free_ = reinterpret_cast<std::uint8_t*>(out);
  if (with_values_) {
    CHECK(values.size() == size_of(positions_));
    const auto* gradient = reinterpret_cast<float*>(free_);
    out = reinterpret_cast<float*>(free_);
    for (const double g : values) *out++ = static_cast<float>(g);
    device_.upload(dvalues_, gradient);
    free_ = reinterpret_cast<std::uint8_t*>(out);
  }
  const Into into = micro_batch_ == 0 || tree_ ? Into::write : Into::add;
  std::vector<Piece>& pieces = into == Into::write ? first_backward_ : further_backward_;
  if (choose_rows_) train_head(into);
  for (std::size_t k = 0; k < pieces.size(); ++k) {
    pieces[k].run(device_, graphs_, [this, k, into] { backward_part(k, into); });
    if (last) {
      if (tree_) add_earlier(rank_update_.buckets()[k].bucket);
      rank_update_.reduce(k);
    }
    collective_.progress();
  }
  find_nonfinite();
  if (tree_ && !last) keep_for_later();
}

void StepPasses::train_head(Into into) {
  const GptTensors& weights = tensors_.weights;
  const Tensor scale = scaled_ ? optimizer_.loss_scale() : Tensor();
  if (!choose_rows_) {
    head_.train(gpt_.dhidden(), tensors_.gradients.wte, into, gpt_.hidden(), targets_, coefficients_, weights.wte,
                scale);
    return;
  }
  // Without a vocabulary in the objective no row goes through it: its gradients are zero.
  const std::int64_t m = with_head_ ? static_cast<std::int64_t>(chosen_.rows.size()) : 0;
  head_.train(gpt_.dhidden(), tensors_.gradients.wte, into, gpt_.hidden(), rows_.slice(0, m), targets_.slice(0, m),
              coefficients_.slice(0, m), weights.wte, scale);
  if (with_values_) {
    ops_.scalar_head_backward(gpt_.dhidden(), Into::add, tensors_.gradients.score, into, dvalues_, gpt_.hidden(),
                              weights.score, scale);
  }
}

void StepPasses::backward_part(std::size_t k, Into into) {
  const auto& buckets = rank_update_.buckets();
  const GptTensors &weights = tensors_.weights, &gradients = tensors_.gradients;
  if (k == 0) {
    if (!choose_rows_) train_head(into);
    gpt_.begin_backward(weights, gradients, into, gpt_.dhidden());
  }
  gpt_.backward_layers(weights, gradients, into, buckets[k].first_layer,
                       k == 0 ? model_.layers : buckets[k - 1].first_layer);
  if (k + 1 == buckets.size()) gpt_.end_backward(gradients, into);
}

// A loss that is not finite can come with gradients that are: neither may reach the weights.
void StepPasses::find_nonfinite() {
  const Into first = micro_batch_ == 0 ? Into::write : Into::add;
  if (!choose_rows_) {
    ops_.find_nonfinite(optimizer_.guard(), first, head_.statistics_block().slice(0, Head::finite_rows));
    return;
  }
  const auto m = static_cast<std::int64_t>(chosen_.rows.size());
  // Of what the head found only the first m are of this micro-batch. The learning rate stands for nothing at all.
  ops_.find_nonfinite(optimizer_.guard(), first, with_values_ ? values_ : optimizer_.learning_rate());
  for (int row = 0; with_head_ && m > 0 && row < Head::finite_rows; ++row) {
    const Tensor of = head_.statistics_block().slice(row, 1).reshape({positions_}).slice(0, m);
    ops_.find_nonfinite(optimizer_.guard(), Into::add, of);
  }
}

// Gradients of micro-batches are added like the digits of a binary counter: level j of the tree holds the sum of 2^j of
// them that waits for the next such sum. In this order a rank's sum is a subtree of that of all ranks.
void StepPasses::add_earlier(const Bucket& bucket) {
  const bool last = micro_batch_ + 1 == micro_batches_;
  bool carry = true;
  for (int level = 0; (std::int64_t{1} << level) <= micro_batch_; ++level) {
    const bool full = (micro_batch_ >> level & 1) != 0;
    carry = carry && full;
    // After the last one the sums that are left over are added as well.
    if (full && (carry || last)) {
      ops_.add(tensors_.gradient_arena.slice(bucket.begin(), bucket.size()),
               (*tensors_.tree)[level].slice(bucket.begin(), bucket.size()));
    }
  }
}

void StepPasses::keep_for_later() {
  for (const GradientBucket& bucket : rank_update_.buckets()) add_earlier(bucket.bucket);
  int level = 0;
  while ((micro_batch_ >> level & 1) != 0) level += 1;
  device_.copy((*tensors_.tree)[level], tensors_.gradient_arena);
}

void StepPasses::download_statistics(void* to) { device_.download_later(to, head_.statistics_block()); }

TokenScores StepPasses::read_statistics(const Batch& batch, const void* from) const {
  if (choose_rows_) return scores_of_rows(chosen_rows(batch).rows, from, positions_, positions_);
  return scores_of_block(from, positions_);
}

}  // namespace nll
