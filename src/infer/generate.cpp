// V vocabulary, Vp stored rows of it.
#include "src/infer/generate.h"

#include <fmt/core.h>

#include <algorithm>

namespace nll {

Numerics with_exact_logits(Numerics numerics) {
  numerics.logits = DType::f32;
  return numerics;
}

void check_request(const GenerationRequest& request, const ModelConfig& model) {
  check_sampling(request.rules);
  if (request.max_tokens < 0) {
    throw Error(Exit::usage, fmt::format("--max-tokens: {} is out of range (expected a whole number of at least 0)",
                                         request.max_tokens));
  }
  if (request.prompt.empty()) {
    throw Error(Exit::usage, "the prompt has no tokens (expected at least one)",
                "give a text, or use a tokenizer with an end-of-text token to start a document");
  }
  for (std::size_t i = 0; i < request.prompt.size(); ++i) {
    if (request.prompt[i] < 0 || request.prompt[i] >= model.vocabulary) {
      throw Error(Exit::bad_data,
                  fmt::format("token {} of the prompt is {} (expected 0 to {}, the model's vocabulary)", i,
                              request.prompt[i], model.vocabulary - 1),
                  "use the tokenizer that the model was trained with");
    }
  }
}

std::vector<ArenaPlan> Generator::plans(const ModelConfig& model, const HeadConfig& head, const Numerics& numerics) {
  return {Decoder::plan_cache(model, numerics), Decoder::plan_activations(model, numerics),
          Head::plan(model, head, 1, with_exact_logits(numerics))};
}

Generator::Generator(const ModelConfig& model, const HeadConfig& head, Ops& ops, Device& device,
                     const Numerics& numerics)
    : model_(model),
      device_(device),
      head_(model, head, ops, device, 1, with_exact_logits(numerics)),
      decoder_(model, ops, device, numerics),
      row_(static_cast<std::size_t>(padded_vocabulary(model.vocabulary))),
      scores_(static_cast<std::size_t>(model.vocabulary)) {}

Tensor Generator::advance(const GptTensors& weights, std::span<const std::int32_t> history) {
  if (!decoder_.full()) return decoder_.read(weights, history.last(1));
  decoder_.reset();
  const std::int64_t half = std::max<std::int64_t>(1, model_.context / 2);
  return decoder_.read(weights, history.last(static_cast<std::size_t>(half)));
}

std::span<const double> Generator::scores(const GptTensors& weights, Tensor hidden) {
  const Tensor logits = head_.logits(hidden.slice(hidden.dim(0) - 1, 1), weights.wte);
  device_.download(row_.data(), logits);
  model_scores(row_, head_.shape(), scores_);
  return scores_;
}

StopReason Generator::generate(const GptTensors& weights, const GenerationRequest& request,
                               const std::function<bool(std::int32_t id, double logp)>& on_token) {
  check_request(request, model_);
  std::int64_t drawable = model_.vocabulary;
  if (request.vocabulary > 0) drawable = std::min(drawable, request.vocabulary);
  TokenCounts counts(model_.vocabulary);
  for (std::int32_t id : request.prompt) counts.add_prompt(id);
  std::vector<std::int32_t> history = request.prompt;

  decoder_.reset();
  Tensor hidden;
  for (std::int64_t made = 0; made < request.max_tokens; ++made) {
    if (made == 0) {
      const std::size_t fit = std::min(history.size(), static_cast<std::size_t>(model_.context));
      hidden = decoder_.read(weights, std::span<const std::int32_t>(history).last(fit));
    } else {
      hidden = advance(weights, history);
    }
    const std::span<const double> u = scores(weights, hidden);
    const std::int32_t id = sample_token(u.first(static_cast<std::size_t>(drawable)), counts, request.rules,
                                         sampling_uniform(request.seed, 0, history.size()));
    history.push_back(id);
    counts.add_generated(id);
    const bool go_on = on_token(id, log_probability(u, id));
    if (id == request.end_of_text) return StopReason::end_of_text;
    if (!go_on) return StopReason::asked;
  }
  return StopReason::length;
}

std::vector<double> Generator::score_stepwise(const GptTensors& weights, std::span<const std::int32_t> tokens) {
  std::vector<double> logp;
  decoder_.reset();
  for (std::size_t i = 1; i < tokens.size(); ++i) {
    const std::span<const double> u = scores(weights, advance(weights, tokens.first(i)));
    logp.push_back(log_probability(u, tokens[i]));
  }
  return logp;
}

}  // namespace nll
