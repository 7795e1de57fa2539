// BatchGenerator: generation of many texts at once. Each step reads the last token of every text that is not finished;
// a text that ends makes room for the next one, so that no column is computed for nothing.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "kernels/arena.h"
#include "kernels/ops.h"
#include "src/config/config.h"
#include "src/infer/decoder.h"
#include "src/infer/generate.h"
#include "src/infer/sampling.h"
#include "src/model/head.h"
#include "src/model/parameters.h"

namespace nll {

struct BatchPrompt {
  std::vector<std::int32_t> tokens;  // at least one
  std::uint64_t sequence = 0;  // which random numbers draw it, below 2^56; texts of one prompt need different ones
};

struct BatchRequest {
  std::vector<BatchPrompt> prompts;  // of any lengths and any number
  SamplingRules rules;               // the rest as in GenerationRequest, for each of them
  std::int64_t max_tokens = 256;
  std::uint64_t seed = 1;
  std::int32_t end_of_text = -1;
  std::int64_t vocabulary = 0;
};

// What was generated after one prompt. Vectors have one entry a token, an end of text included.
struct WrittenText {
  std::vector<std::int32_t> tokens;
  // ln softmax(u / temperature) of the token, over all V tokens, u the scores before penalties: what ratios of policies
  // need whatever top-k, top-p and min-p left out. At temperature 0 that of temperature 1.
  std::vector<double> logp;
  std::vector<double> model_logp;  // ln softmax(u): the same at temperature 1
  StopReason reason = StopReason::length;
};

class BatchGenerator {
 public:
  // `sequences`: texts that are written at a time, at least 1.
  static std::vector<ArenaPlan> plans(const ModelConfig& model, const HeadConfig& head, std::int64_t sequences,
                                      const Numerics& numerics = {});
  BatchGenerator(const ModelConfig& model, const HeadConfig& head, Ops& ops, Device& device, std::int64_t sequences,
                 const Numerics& numerics = {});

  // Texts in the order of the prompts. A text depends on its prompt, `sequence` and the rules alone, not on the others,
  // their order or `sequences`: bit for bit where Decoder promises that. A prompt that is still being continued is not
  // read again for another text; where the context is full the window slides, as Generator's does. `progress`, after
  // each step, is told how many tokens there are in all; false stops, and unfinished texts have StopReason::asked.
  // Throws as check_request.
  std::vector<WrittenText> generate(const GptTensors& weights, const BatchRequest& request,
                                    const std::function<bool(std::int64_t tokens)>& progress = {});

 private:
  struct Active;
  void begin(const GptTensors& weights, std::vector<Active>& active, const BatchRequest& request, std::size_t text);
  // Reads the last token of all, and what must be read before it. Their logits are in rows_ then.
  void advance(const GptTensors& weights, std::vector<Active>& active);

  ModelConfig model_;
  Device& device_;
  Head head_;
  Decoder decoder_;
  std::vector<float> rows_;     // (sequences, Vp)
  std::vector<double> scores_;  // (V)
  std::vector<std::int32_t> last_;
};

}  // namespace nll
