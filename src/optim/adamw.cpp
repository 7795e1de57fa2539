#include "src/optim/adamw.h"

namespace nll {

ArenaPlan AdamWOptimizer::plan(const ParameterTable& table) {
  ArenaPlan plan("optimizer");
  plan.add("m", DType::f32, {table.stored_elements()});
  plan.add("v", DType::f32, {table.stored_elements()});
  plan.add("norm", DType::f32, {1});
  return plan;
}

AdamWOptimizer::AdamWOptimizer(const OptimizerConfig& config, const ParameterTable& table, Ops& ops, Device& device)
    : config_(config), spans_(table.decay_spans()), ops_(ops), device_(device), arena_(device, plan(table)) {}

float AdamWOptimizer::step(Tensor weights, Tensor gradients, double learning_rate, std::int64_t update) {
  const Tensor norm = arena_[norm_];
  ops_.global_norm(norm, gradients);
  AdamW adamw;
  adamw.learning_rate = static_cast<float>(learning_rate);
  adamw.beta1 = static_cast<float>(config_.beta1);
  adamw.beta2 = static_cast<float>(config_.beta2);
  adamw.epsilon = static_cast<float>(config_.epsilon);
  adamw.clip_norm = static_cast<float>(config_.clip_norm);
  adamw.step = update;
  for (const DecaySpan& span : spans_) {
    const std::int64_t n = span.end - span.begin;
    const float decay = span.decay ? static_cast<float>(config_.weight_decay) : 0.0f;
    ops_.adamw(weights.slice(span.begin, n), first_moment().slice(span.begin, n), second_moment().slice(span.begin, n),
               gradients.slice(span.begin, n), norm, decay, adamw);
  }
  float result = 0;
  device_.download(&result, norm);
  return result;
}

}  // namespace nll
