// V vocabulary, Vp stored rows of it. Text i of `active` is sequence i of the decoder.
#include "src/infer/batch_generate.h"

#include <algorithm>
#include <utility>

namespace nll {

namespace {

std::int64_t step_tokens(std::int64_t sequences) { return std::max(sequences, Decoder::step_rows); }

// All rows of a step in one product.
HeadConfig in_one_chunk(HeadConfig head, std::int64_t sequences) {
  head.chunk_tokens = step_tokens(sequences);
  head.logits_tokens = step_tokens(sequences);
  return head;
}

}  // namespace

// A text that is being written.
struct BatchGenerator::Active {
  std::size_t text = 0;               // of the request
  std::vector<std::int32_t> history;  // prompt and output
  TokenCounts counts;
  bool slid = false;  // the cache no longer begins with the prompt's window
};

std::vector<ArenaPlan> BatchGenerator::plans(const ModelConfig& model, const HeadConfig& head, std::int64_t sequences,
                                             const Numerics& numerics) {
  return {Decoder::plan_cache(model, numerics, nullptr, sequences),
          Decoder::plan_activations(model, numerics, nullptr, sequences),
          Head::plan(model, in_one_chunk(head, sequences), step_tokens(sequences), with_exact_logits(numerics))};
}

BatchGenerator::BatchGenerator(const ModelConfig& model, const HeadConfig& head, Ops& ops, Device& device,
                               std::int64_t sequences, const Numerics& numerics)
    : model_(model),
      device_(device),
      head_(model, in_one_chunk(head, sequences), ops, device, step_tokens(sequences), with_exact_logits(numerics)),
      decoder_(model, ops, device, numerics, sequences),
      rows_(static_cast<std::size_t>(sequences * padded_vocabulary(model.vocabulary))),
      scores_(static_cast<std::size_t>(model.vocabulary)),
      last_(static_cast<std::size_t>(sequences)) {
  CHECK(sequences >= 1);
}

void BatchGenerator::begin(const GptTensors& weights, std::vector<Active>& active, const BatchRequest& request,
                           std::size_t text) {
  const std::vector<std::int32_t>& prompt = request.prompts[text].tokens;
  Active made{text, {}, TokenCounts(model_.vocabulary)};
  made.history.reserve(prompt.size() + static_cast<std::size_t>(std::min<std::int64_t>(request.max_tokens, 1 << 16)));
  made.history = prompt;
  for (std::int32_t id : prompt) made.counts.add_prompt(id);
  // All but the last token, which the next step reads.
  const std::size_t window = std::min(prompt.size(), static_cast<std::size_t>(model_.context)) - 1;
  const std::int64_t sequence = static_cast<std::int64_t>(active.size());
  decoder_.reset(sequence);
  const auto same = std::find_if(active.begin(), active.end(), [&](const Active& other) {
    return !other.slid && request.prompts[other.text].tokens == prompt;
  });
  if (window > 0 && same != active.end()) {
    decoder_.copy(sequence, same - active.begin(), static_cast<std::int64_t>(window));
  } else if (window > 0) {
    decoder_.read(weights, std::span(prompt).last(window + 1).first(window), sequence);
  }
  active.push_back(std::move(made));
}

void BatchGenerator::advance(const GptTensors& weights, std::vector<Active>& active) {
  const std::size_t half = static_cast<std::size_t>(std::max<std::int64_t>(1, model_.context / 2));
  for (std::size_t i = 0; i < active.size(); ++i) {
    const std::span<const std::int32_t> history = active[i].history;
    last_[i] = history.back();
    const std::int64_t sequence = static_cast<std::int64_t>(i);
    if (!decoder_.full(sequence)) continue;
    decoder_.reset(sequence);
    active[i].slid = true;
    if (half > 1) decoder_.read(weights, history.last(half).first(half - 1), sequence);
  }
  const Tensor logits = head_.logits(decoder_.step(weights, std::span(last_).first(active.size())), weights.wte);
  device_.download(rows_.data(), logits.slice(0, static_cast<std::int64_t>(active.size())));
}

std::vector<WrittenText> BatchGenerator::generate(const GptTensors& weights, const BatchRequest& request,
                                                  const std::function<bool(std::int64_t tokens)>& progress) {
  GenerationRequest each;
  each.rules = request.rules;
  each.max_tokens = request.max_tokens;
  for (const BatchPrompt& prompt : request.prompts) {
    each.prompt = prompt.tokens;
    check_request(each, model_);
  }
  std::vector<WrittenText> texts(request.prompts.size());
  if (request.max_tokens == 0) return texts;
  const std::size_t drawable = static_cast<std::size_t>(
      request.vocabulary > 0 ? std::min(request.vocabulary, model_.vocabulary) : model_.vocabulary);
  const double temperature = request.rules.temperature > 0 ? request.rules.temperature : 1;
  const std::size_t Vp = static_cast<std::size_t>(padded_vocabulary(model_.vocabulary));

  std::vector<Active> active;
  std::size_t begun = 0;
  std::int64_t written = 0;
  while (true) {
    while (active.size() < last_.size() && begun < texts.size()) begin(weights, active, request, begun++);
    if (active.empty()) return texts;
    advance(weights, active);
    // From the last to the first: the last one takes the place of one that ends, and has had its token by then.
    for (std::size_t i = active.size(); i-- > 0;) {
      Active& a = active[i];
      WrittenText& text = texts[a.text];
      model_scores(std::span<const float>(rows_).subspan(i * Vp, Vp), head_.shape(), scores_);
      const std::int32_t id =
          sample_token(std::span<const double>(scores_).first(drawable), a.counts, request.rules,
                       sampling_uniform(request.seed, request.prompts[a.text].sequence, a.history.size()));
      text.tokens.push_back(id);
      text.model_logp.push_back(log_probability(scores_, id));
      text.logp.push_back(temperature == 1 ? text.model_logp.back() : log_probability(scores_, id, temperature));
      a.history.push_back(id);
      a.counts.add_generated(id);
      ++written;
      const bool ended = id == request.end_of_text;
      if (ended) text.reason = StopReason::end_of_text;
      if (!ended && static_cast<std::int64_t>(text.tokens.size()) < request.max_tokens) continue;
      if (i + 1 < active.size()) {
        const std::int64_t from = static_cast<std::int64_t>(active.size()) - 1;
        decoder_.copy(static_cast<std::int64_t>(i), from, decoder_.position(from));
        a = std::move(active.back());
      }
      active.pop_back();
    }
    if (progress && !progress(written)) break;
  }
  for (const Active& a : active) texts[a.text].reason = StopReason::asked;
  for (std::size_t i = begun; i < texts.size(); ++i) texts[i].reason = StopReason::asked;
  return texts;
}

}  // namespace nll
