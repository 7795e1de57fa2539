// N tokens, C width, Vp stored vocabulary, n tokens of a chunk.
#include "src/model/head.h"

#include <algorithm>

#include "src/model/parameters.h"

namespace nll {

std::int64_t Head::chunk_tokens(const ModelConfig& model, const HeadConfig& head, std::int64_t tokens) {
  if (head.chunk_tokens) return std::min(*head.chunk_tokens, tokens);
  const std::int64_t budget = std::int64_t{64} << 20;  // bytes: a few L3 caches, and wide enough for a full-speed GEMM
  const std::int64_t fit = budget / (4 * padded_vocabulary(model.vocabulary)) / 128 * 128;
  return std::min(tokens, std::max<std::int64_t>(fit, 256));
}

ArenaPlan Head::plan(const ModelConfig& model, const HeadConfig& head, std::int64_t tokens, HeadSlots* slots) {
  ArenaPlan plan("head");
  HeadSlots made{};
  made.logits =
      plan.add("logits", DType::f32, {chunk_tokens(model, head, tokens), padded_vocabulary(model.vocabulary)});
  made.logp = plan.add("logp", DType::f32, {tokens});
  made.maximum = plan.add("maximum", DType::f32, {tokens});
  made.log_denominator = plan.add("log_denominator", DType::f32, {tokens});
  made.entropy = plan.add("entropy", DType::f32, {tokens});
  made.mean_logp = plan.add("mean_logp", DType::f32, {tokens});
  made.sum_p2 = plan.add("sum_p2", DType::f32, {tokens});
  made.argmax = plan.add("argmax", DType::i32, {tokens});
  made.rank = plan.add("rank", DType::i32, {tokens});
  if (slots != nullptr) *slots = made;
  return plan;
}

Head::Head(const ModelConfig& model, const HeadConfig& head, Ops& ops, Device& device, std::int64_t tokens)
    : ops_(ops), chunk_(chunk_tokens(model, head, tokens)), arena_(device, plan(model, head, tokens, &slots_)) {
  shape_.vocabulary = model.vocabulary;
  shape_.softcap = static_cast<float>(head.softcap);
}

TokenStatistics Head::statistics(std::int64_t begin, std::int64_t count, bool ranked) const {
  const auto part = [&](int slot) { return arena_[slot].slice(begin, count); };
  TokenStatistics s;
  s.logp = part(slots_.logp);
  s.maximum = part(slots_.maximum);
  s.log_denominator = part(slots_.log_denominator);
  s.entropy = part(slots_.entropy);
  s.mean_logp = part(slots_.mean_logp);
  s.argmax = part(slots_.argmax);
  if (ranked) {
    s.sum_p2 = part(slots_.sum_p2);
    s.rank = part(slots_.rank);
  }
  return s;
}

TokenStatistics Head::score(Tensor hidden, Tensor targets, Tensor wte, bool ranked) {
  const std::int64_t N = hidden.dim(0);
  for (std::int64_t begin = 0; begin < N; begin += chunk_) {
    const std::int64_t n = std::min(chunk_, N - begin);
    const Tensor logits = arena_[slots_.logits].slice(0, n);
    ops_.head_logits(logits, hidden.slice(begin, n), wte);
    ops_.cross_entropy(statistics(begin, n, ranked), logits, targets.slice(begin, n), shape_);
  }
  return statistics(0, N, ranked);
}

TokenStatistics Head::train(Tensor dhidden, Tensor dwte, Into into, Tensor hidden, Tensor targets, Tensor coefficients,
                            Tensor wte) {
  const std::int64_t N = hidden.dim(0);
  for (std::int64_t begin = 0; begin < N; begin += chunk_) {
    const std::int64_t n = std::min(chunk_, N - begin);
    const Tensor logits = arena_[slots_.logits].slice(0, n), h = hidden.slice(begin, n);
    ops_.head_logits(logits, h, wte);
    ops_.cross_entropy_backward(statistics(begin, n, false), logits, targets.slice(begin, n),
                                coefficients.slice(begin, n), shape_);
    ops_.head_backward(dhidden.slice(begin, n), dwte, begin == 0 ? into : Into::add, logits, h, wte);
  }
  return statistics(0, N, false);
}

Tensor Head::logits(Tensor hidden, Tensor wte) {
  const Tensor logits = arena_[slots_.logits].slice(0, hidden.dim(0));
  ops_.head_logits(logits, hidden, wte);
  return logits;
}

}  // namespace nll
