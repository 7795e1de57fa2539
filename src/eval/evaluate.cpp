// B sequences, T context, N = B*T tokens.
#include "src/eval/evaluate.h"

#include "src/eval/score.h"
#include "src/text/loader.h"
#include "src/text/utf8.h"

namespace nll {

namespace {

// Host copies of what the head says of a batch.
struct HostStatistics {
  explicit HostStatistics(std::size_t tokens)
      : logp(tokens), log_denominator(tokens), entropy(tokens), sum_p2(tokens), rank(tokens) {}
  void download(Device& device, const TokenStatistics& statistics) {
    device.download(logp.data(), statistics.logp);
    device.download(log_denominator.data(), statistics.log_denominator);
    device.download(entropy.data(), statistics.entropy);
    device.download(sum_p2.data(), statistics.sum_p2);
    device.download(rank.data(), statistics.rank);
  }
  ScoredToken token(std::size_t i, std::int32_t target) const {
    return {target, logp[i], log_denominator[i], entropy[i], sum_p2[i], rank[i]};
  }
  std::vector<float> logp, log_denominator, entropy, sum_p2;
  std::vector<std::int32_t> rank;
};

}  // namespace

TokenLengths token_lengths(const Tokenizer& tokenizer) {
  TokenLengths lengths;
  for (std::int32_t id = 0; id < tokenizer.vocabulary(); ++id) {
    const std::string_view bytes = tokenizer.token_bytes(id);
    const bool special = tokenizer.special(id);
    lengths.bytes.push_back(special ? 0 : static_cast<std::int32_t>(bytes.size()));
    lengths.special.push_back(special ? 1 : 0);
    lengths.characters.push_back(special ? 0 : static_cast<std::int32_t>(count_characters(bytes)));
  }
  lengths.classes = token_classes(tokenizer);
  return lengths;
}

ArenaPlan evaluation_plan(std::int64_t sequences, std::int64_t context) {
  const std::int64_t capacity = checked_product(sequences, context);
  ArenaPlan plan("evaluation batch");
  plan.add("tokens", DType::i32, {capacity});
  plan.add("targets", DType::i32, {capacity});
  return plan;
}

Score score_windows(Gpt& gpt, Head& head, Device& device, const GptTensors& weights, SequentialWindows& windows,
                    const TokenLengths& lengths, const Arena& inputs,
                    const std::function<bool(std::int64_t, std::int64_t)>& progress, const TokenObserver& observe) {
  HostStatistics statistics(static_cast<std::size_t>(inputs[evaluation_tokens].size()));

  Score score(lengths, windows.before() > 0);
  Batch batch;
  while (windows.next(batch)) {
    const std::int64_t B = batch.sequences, T = batch.context, N = B * T;
    const Tensor tokens = inputs[evaluation_tokens].slice(0, N).reshape({B, T});
    const Tensor targets = inputs[evaluation_targets].slice(0, N);
    device.upload(tokens, batch.tokens.data());
    device.upload(targets, batch.targets.data());
    const Tensor hidden = gpt.forward(weights, tokens);
    statistics.download(device, head.score(hidden, targets, weights.wte, true));
    for (std::size_t i = 0; i < static_cast<std::size_t>(N); ++i) {
      if (batch.targets[i] == ignore_index) continue;
      const ScoredToken token = statistics.token(i, batch.targets[i]);
      score.add(token);
      if (observe) observe(token, static_cast<std::int64_t>(i) % T + 1);
    }
    if (progress && !progress(score.tokens(), windows.targets())) break;
  }
  return score;
}

Evaluation evaluate(Gpt& gpt, Head& head, Device& device, const GptTensors& weights, SequentialWindows& windows,
                    const TokenLengths& lengths, const Arena& inputs,
                    const std::function<bool(std::int64_t, std::int64_t)>& progress, const TokenObserver& observe) {
  const Score score = score_windows(gpt, head, device, weights, windows, lengths, inputs, progress, observe);
  if (score.tokens() == 0) {
    throw Error(Exit::bad_data, "the text to evaluate has no token to predict (expected at least 2 tokens in a file)");
  }
  Evaluation evaluation = score.evaluation();
  evaluation.complete = score.tokens() == windows.targets();
  return evaluation;
}

std::vector<std::pair<std::string, double>> fields(const Evaluation& e) {
  std::vector<std::pair<std::string, double>> list = {{"loss", e.loss}, {"perplexity", e.perplexity}};
  if (e.bits_per_token > 0) list.emplace_back("bits_per_token", e.bits_per_token);
  if (e.bytes > 0) {
    list.emplace_back("bits_per_byte", e.bits_per_byte);
    list.emplace_back("bits_per_byte_total", e.bits_per_byte_total);
  }
  if (e.characters > 0) list.emplace_back("bits_per_character", e.bits_per_character);
  list.insert(list.end(), {{"accuracy", e.accuracy},
                           {"top5_accuracy", e.top5},
                           {"entropy", e.entropy},
                           {"brier", e.brier},
                           {"ece", e.ece},
                           {"ece_10_bins", e.ece_10_bins},
                           {"mce", e.mce},
                           {"rms_ce", e.rms_ce},
                           {"tokens", static_cast<double>(e.tokens)},
                           {"bytes", static_cast<double>(e.bytes)},
                           {"characters", static_cast<double>(e.characters)}});
  return list;
}

std::vector<std::pair<std::string, double>> class_fields(const Evaluation& e) {
  std::vector<std::pair<std::string, double>> list;
  for (const ClassLoss& of : e.classes) {
    if (of.tokens > 0) list.emplace_back("loss_" + of.name, of.loss());
  }
  return list;
}

}  // namespace nll
