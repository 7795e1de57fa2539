// Generation with a KV cache: one forward over the prompt, then one position at a time. Its log-probabilities equal
// those of the full parallel forward pass to rounding.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "kernels/arena.h"
#include "kernels/ops.h"
#include "src/config/config.h"
#include "src/infer/decoder.h"
#include "src/infer/sampling.h"
#include "src/model/head.h"
#include "src/model/parameters.h"

namespace nll {

enum class StopReason { length, end_of_text, asked };

struct GenerationRequest {
  std::vector<std::int32_t> prompt;  // at least one token
  SamplingRules rules;
  std::int64_t max_tokens = 256;
  std::uint64_t seed = 1;         // the same seed, prompt and rules give the same tokens
  std::int32_t end_of_text = -1;  // generation stops there; -1: never
  std::int64_t vocabulary = 0;    // ids from here on are never drawn, for a tokenizer that knows fewer than the model;
                                  // 0: the model's own
};

// Throws Error(usage) that names the flag of `nll sample`, or Error(bad_data) for a prompt that the model cannot read.
void check_request(const GenerationRequest& request, const ModelConfig& model);

// The same with logits in FP32: texts are sampled from few rows at a time, so nothing is saved by rounding them.
Numerics with_exact_logits(Numerics numerics);

class Generator {
 public:
  static std::vector<ArenaPlan> plans(const ModelConfig& model, const HeadConfig& head, const Numerics& numerics = {});
  Generator(const ModelConfig& model, const HeadConfig& head, Ops& ops, Device& device, const Numerics& numerics = {});

  // Calls on_token(id, logp) for each generated token, an end of text included (logp under the raw model distribution);
  // false stops. When the context is full the window slides: the last half of it is read again, because positions are
  // learned, and generation goes on. Of a prompt longer than the context the end is read.
  StopReason generate(const GptTensors& weights, const GenerationRequest& request,
                      const std::function<bool(std::int32_t id, double logp)>& on_token);
  // Log-probability of each token of `tokens` after the first given all before it, one position at a time through the
  // cache; beyond the context the window slides as in generate. For tests and `nll eval --teacher-forcing`.
  std::vector<double> score_stepwise(const GptTensors& weights, std::span<const std::int32_t> tokens);

 private:
  // Reads the last token of `history`, or the window's second half again where the context is full.
  Tensor advance(const GptTensors& weights, std::span<const std::int32_t> history);
  // Scores (V) after the last row of hidden: logits with the model's scale and softcap, padded columns left out.
  std::span<const double> scores(const GptTensors& weights, Tensor hidden);

  ModelConfig model_;
  Device& device_;
  Head head_;
  Decoder decoder_;
  std::vector<float> row_;      // (Vp)
  std::vector<double> scores_;  // (V)
};

}  // namespace nll
