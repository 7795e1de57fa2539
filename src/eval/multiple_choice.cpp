// Of an ending of E tokens after a context of c: the pass sees the last min(c + E, context + 1) of them but the last.
#include "src/eval/multiple_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "src/eval/evaluate.h"

namespace nll {

namespace {

double score_of(const EndingScore& ending, ChoiceNorm norm) {
  switch (norm) {
    case ChoiceNorm::token:
      return ending.logp / static_cast<double>(ending.tokens);
    case ChoiceNorm::byte:
      return ending.logp / static_cast<double>(ending.bytes);
    case ChoiceNorm::character:
      return ending.logp / static_cast<double>(ending.characters);
    case ChoiceNorm::pmi:
      return ending.logp - ending.unconditional;
    default:
      return ending.logp;
  }
}

}  // namespace

const char* choice_norm_name(ChoiceNorm norm) {
  constexpr const char* names[] = {"sum", "token", "byte", "character", "pmi"};
  return names[static_cast<std::size_t>(norm)];
}

std::size_t choose_ending(std::span<const EndingScore> endings, ChoiceNorm norm) {
  CHECK(!endings.empty());
  std::size_t best = 0;
  for (std::size_t i = 1; i < endings.size(); ++i) {
    if (score_of(endings[i], norm) > score_of(endings[best], norm)) best = i;
  }
  return best;
}

bool ChoiceResult::has(ChoiceNorm norm) const {
  if (norm == ChoiceNorm::byte || norm == ChoiceNorm::character) return lengths;
  return norm != ChoiceNorm::pmi || unconditional;
}

MultipleChoice::MultipleChoice(const ModelConfig& model, const HeadConfig& head, Ops& ops, Device& device,
                               const GptTensors& weights, std::int64_t sequences, const Numerics& numerics)
    : device_(device),
      weights_(weights),
      context_(model.context),
      sequences_(sequences),
      gpt_(model, ops, device, sequences, model.context, Pass::inference, numerics),
      head_(model, head, ops, device, sequences * model.context, numerics),
      inputs_(device, evaluation_plan(sequences, model.context)) {}

void MultipleChoice::score_batch(std::span<const Pair> pairs, std::span<const std::size_t> order,
                                 std::vector<double>& sums) {
  const auto length = [&](const Pair& pair) {
    return std::min(pair.context.size() + pair.ending.size() - 1, static_cast<std::size_t>(context_));
  };
  std::size_t T = 0;
  for (std::size_t i : order) T = std::max(T, length(pairs[i]));
  // What follows a shorter ending is not seen by it and has no target.
  std::vector<std::int32_t> tokens(order.size() * T), targets(order.size() * T, ignore_index);
  for (std::size_t row = 0; row < order.size(); ++row) {
    const Pair& pair = pairs[order[row]];
    std::vector<std::int32_t> text(pair.context.begin(), pair.context.end());
    text.insert(text.end(), pair.ending.begin(), pair.ending.end());
    const std::size_t n = length(pair), first = text.size() - 1 - n;
    std::copy_n(text.begin() + static_cast<std::ptrdiff_t>(first), n,
                tokens.begin() + static_cast<std::ptrdiff_t>(row * T));
    std::copy(pair.ending.begin(), pair.ending.end(),
              targets.begin() + static_cast<std::ptrdiff_t>(row * T + n - pair.ending.size()));
  }
  const std::int64_t B = static_cast<std::int64_t>(order.size()), t = static_cast<std::int64_t>(T), N = B * t;
  const Tensor inputs = inputs_[evaluation_tokens].slice(0, N).reshape({B, t}),
               wanted = inputs_[evaluation_targets].slice(0, N);
  device_.upload(inputs, tokens.data());
  device_.upload(wanted, targets.data());
  std::vector<float> logp(tokens.size());
  device_.download(logp.data(), head_.score(gpt_.forward(weights_, inputs), wanted, weights_.wte, false).logp);
  for (std::size_t i = 0; i < logp.size(); ++i) {
    if (targets[i] != ignore_index) sums[order[i / T]] += static_cast<double>(logp[i]);
  }
}

std::vector<double> MultipleChoice::score(std::span<const Pair> pairs, const Progress& progress) {
  for (const Pair& pair : pairs) {
    CHECK(!pair.context.empty());
    CHECK(!pair.ending.empty());
    CHECK(static_cast<std::int64_t>(pair.ending.size()) <= context_);
  }
  // Neighbours of about one length, so that little is filled up.
  std::vector<std::size_t> order(pairs.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return pairs[a].context.size() + pairs[a].ending.size() < pairs[b].context.size() + pairs[b].ending.size();
  });
  std::vector<double> sums(pairs.size());
  const std::size_t batch = static_cast<std::size_t>(sequences_);
  for (std::size_t begin = 0; begin < order.size(); begin += batch) {
    const std::size_t count = std::min(batch, order.size() - begin);
    score_batch(pairs, std::span(order).subspan(begin, count), sums);
    if (progress) progress(static_cast<std::int64_t>(begin + count), static_cast<std::int64_t>(order.size()));
  }
  return sums;
}

ChoiceResult MultipleChoice::evaluate(std::span<const EncodedQuestion> questions, std::span<const std::int32_t> answer,
                                      const Progress& progress) {
  ChoiceResult result;
  result.questions = static_cast<std::int64_t>(questions.size());
  result.unconditional = !answer.empty();
  result.lengths = true;
  std::vector<Pair> pairs, alone;
  for (const EncodedQuestion& question : questions) {
    for (std::size_t i = 0; i < question.endings.size(); ++i) {
      const EncodedEnding& ending = question.endings[i];
      const std::int64_t tokens = static_cast<std::int64_t>(ending.tokens.size());
      if (tokens > context_)
        throw Error(Exit::bad_data,
                    fmt::format("{}: ending {} has {} tokens (expected at most the model's context of {})",
                                question.place, i, tokens, context_));
      if (ending.bytes == 0 || ending.characters == 0) result.lengths = false;
      result.cut += static_cast<std::int64_t>(question.context.size()) + tokens - 1 > context_;
      pairs.push_back({question.context, ending.tokens});
      if (result.unconditional) alone.push_back({answer, ending.tokens});
    }
  }
  const std::size_t conditional = pairs.size();
  pairs.insert(pairs.end(), alone.begin(), alone.end());
  const std::vector<double> logp = score(pairs, progress);
  std::size_t at = 0;
  for (const EncodedQuestion& question : questions) {
    std::vector<EndingScore> scores;
    for (const EncodedEnding& ending : question.endings) {
      scores.push_back({logp[at], result.unconditional ? logp[conditional + at] : 0,
                        static_cast<std::int64_t>(ending.tokens.size()), ending.bytes, ending.characters});
      ++at;
    }
    auto& chosen = result.chosen.emplace_back();
    for (std::size_t n = 0; n < choice_norms.size(); ++n) {
      if (!result.has(choice_norms[n])) continue;
      chosen[n] = choose_ending(scores, choice_norms[n]);
      result.correct[n] += chosen[n] == question.label;
    }
  }
  return result;
}

}  // namespace nll
