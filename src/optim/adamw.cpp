#include "src/optim/adamw.h"

#include <algorithm>
#include <utility>

namespace nll {

UpdateState first_update_state(const Numerics& numerics) {
  UpdateState state;
  // Micikevicius et al., "Mixed precision training", ICLR 2018: begin high, an overflow halves it.
  if (numerics.compute == DType::f16) state.loss_scale = 65536;
  return state;
}

ArenaPlan AdamWOptimizer::plan(const ParameterTable& table, const Numerics& numerics, std::int64_t owned) {
  ArenaPlan plan("optimizer");
  plan.add("m", numerics.moments, {owned});
  plan.add("v", numerics.moments, {owned});
  plan.add("norm", DType::f32, {1});
  plan.add("squares", DType::f64, {(table.stored_elements() + Ops::norm_block - 1) / Ops::norm_block});
  plan.add("guard", DType::f32, {1});
  plan.add("state", DType::u8, {sizeof(UpdateState)});
  return plan;
}

AdamWOptimizer::AdamWOptimizer(const Config& config, const ParameterTable& table, Ops& ops, Device& device,
                               const Numerics& numerics, std::vector<OwnedSpan> owned)
    : weight_decay_(static_cast<float>(config.optimizer.weight_decay)),
      owned_(std::move(owned)),
      ops_(ops),
      device_(device),
      arena_(device, plan(table, numerics, elements_of(owned_))) {
  for (const DecaySpan& span : table.decay_spans()) {
    for (const OwnedSpan& own : owned_) {
      const std::int64_t begin = std::max(span.begin, own.begin), end = std::min(span.end, own.end);
      if (begin < end) spans_.push_back({begin, end, own.offset + begin - own.begin, span.decay});
    }
  }
  settings_.beta1 = static_cast<float>(config.optimizer.beta1);
  settings_.beta2 = static_cast<float>(config.optimizer.beta2);
  settings_.epsilon = static_cast<float>(config.optimizer.epsilon);
  settings_.clip_norm = static_cast<float>(config.optimizer.clip_norm);
  settings_.seed = static_cast<std::uint64_t>(config.run.seed);
  if (numerics.compute == DType::f16) {
    settings_.loss_scale_interval = static_cast<std::int32_t>(config.precision.loss_scale_interval);
  }
  set_state(first_update_state(numerics));
}

void AdamWOptimizer::set_state(const UpdateState& state) {
  device_.upload(this->state(), &state);
  device_.synchronize();
}

void AdamWOptimizer::sum_squares(Tensor gradients) {
  for (const OwnedSpan& own : owned_) {
    const std::int64_t first = own.begin / Ops::norm_block,
                       blocks = (own.size() + Ops::norm_block - 1) / Ops::norm_block;
    ops_.square_sums(squares().slice(first, blocks), gradients.slice(own.begin, own.size()));
  }
}

void AdamWOptimizer::apply(Tensor weights, Tensor rounded, Tensor gradients) {
  const Tensor norm = arena_[norm_];
  ops_.norm(norm, squares());
  ops_.begin_update(state(), norm, guard(), settings_);
  for (const UpdateSpan& span : spans_) {
    const std::int64_t n = span.end - span.begin;
    ops_.adamw(weights.slice(span.begin, n), rounded.empty() ? rounded : rounded.slice(span.begin, n),
               first_moment().slice(span.offset, n), second_moment().slice(span.offset, n),
               gradients.slice(span.begin, n), span.decay ? weight_decay_ : 0.0f, span.begin, state(), settings_);
  }
  ops_.end_update(state(), settings_);
}

}  // namespace nll
