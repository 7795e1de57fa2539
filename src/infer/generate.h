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
#include "src/model/head.h"
#include "src/model/parameters.h"

namespace nll {

// How the next token is drawn. Order: repetition, frequency and presence, temperature, top-k, top-p, min-p.
struct SamplingRules {
  double temperature = 1;         // 0: the most likely token, the lowest id on ties
  std::int64_t top_k = 0;         // 0: all
  double top_p = 1;               // 1: all
  double min_p = 0;               // tokens below min_p * p_max are left out; 0: none
  double repetition_penalty = 1;  // on ids of prompt and output (Keskar et al. 2019): u > 0 ? u / penalty : u * penalty
  double frequency_penalty = 0;   // times the count among generated ids
  double presence_penalty = 0;    // once for each generated id
};

enum class StopReason { length, end_of_text, asked };

struct GenerationRequest {
  std::vector<std::int32_t> prompt;  // at least one token
  SamplingRules rules;
  std::int64_t max_tokens = 256;
  std::uint64_t seed = 1;         // the same seed, prompt and rules give the same tokens
  std::int32_t end_of_text = -1;  // generation stops there; -1: never
};

class Generator {
 public:
  static std::vector<ArenaPlan> plans(const ModelConfig& model, const HeadConfig& head);
  Generator(const ModelConfig& model, const HeadConfig& head, Ops& ops, Device& device);

  // Calls on_token(id, logp) for each generated token (logp under the raw model distribution); false stops. When the
  // context is full the window slides: the last half of it is read again and generation goes on.
  StopReason generate(const GptTensors& weights, const GenerationRequest& request,
                      const std::function<bool(std::int32_t id, double logp)>& on_token);
  // Log-probability of each token of `tokens` after the first given all before it, one position at a time through the
  // cache. For tests and `nll eval --teacher-forcing`.
  std::vector<double> score_stepwise(const GptTensors& weights, std::span<const std::int32_t> tokens);

 private:
  // The implementer's.
};

}  // namespace nll
