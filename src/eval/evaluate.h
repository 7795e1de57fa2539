// Evaluation out of the head's by-products: loss, perplexity, bits per byte, accuracy, entropy, calibration.
// Definitions: docs/evaluation.md.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "src/eval/calibration.h"
#include "src/eval/token_class.h"
#include "src/model/gpt.h"
#include "src/model/head.h"
#include "src/text/loader.h"
#include "src/text/tokenizer.h"

namespace nll {

class SequentialWindows;
struct ScoredToken;

// What a target token counts as. Special tokens have 0 bytes. Ids beyond these tables (a model whose vocabulary is
// larger than its tokenizer's) count as special.
struct TokenLengths {
  std::vector<std::int32_t> bytes;       // of each id
  std::vector<std::uint8_t> special;     // 1 for special tokens
  std::vector<std::int32_t> characters;  // code points that begin in the token
  TokenClasses classes{};                // empty without a tokenizer: no loss by class
};
TokenLengths token_lengths(const Tokenizer& tokenizer);

struct Evaluation {
  std::int64_t tokens = 0, bytes = 0, characters = 0;
  double loss = 0;                                                       // nats per token
  double perplexity = 0;                                                 // e^loss
  double bits_per_token = 0, bits_per_byte = 0, bits_per_character = 0;  // special targets left out of NLL and length
  double bits_per_byte_total = 0;                                        // NLL of special targets included
  double accuracy = 0, top5 = 0, entropy = 0, brier = 0;
  double ece = 0;  // 15 bins, top-1
  std::array<CalibrationBin, 15> calibration{};
  bool complete = true;                         // false: stopped before the end
  double ece_10_bins = 0, mce = 0, rms_ce = 0;  // mce and rms_ce with 15 bins
  std::vector<ClassLoss> classes{};             // in the order of ClassScore::losses()
};

// Device memory for one batch of tokens and targets, and the places of both in it.
ArenaPlan evaluation_plan(std::int64_t sequences, std::int64_t context);
inline constexpr int evaluation_tokens = 0, evaluation_targets = 1;

// Called with every target in the order of the text; `seen`: the tokens of the context that it was predicted from.
using TokenObserver = std::function<void(const ScoredToken& token, std::int64_t seen)>;

// Scores everything `windows` gives; `inputs` is an arena of evaluation_plan for its largest batch. `progress(done,
// total)` is called after each batch; returning false stops there and the result says complete = false. Throws
// Error(bad_data) where there is nothing to score.
Evaluation evaluate(Gpt& gpt, Head& head, Device& device, const GptTensors& weights, SequentialWindows& windows,
                    const TokenLengths& lengths, const Arena& inputs,
                    const std::function<bool(std::int64_t, std::int64_t)>& progress, const TokenObserver& observe = {});

// The numbers by their names in metrics.jsonl and `nll eval --json`, in the order to print them. What is not defined
// (bits per byte of text without bytes) is left out.
std::vector<std::pair<std::string, double>> fields(const Evaluation& evaluation);
// loss_<class> of the classes that have tokens, for metrics.jsonl.
std::vector<std::pair<std::string, double>> class_fields(const Evaluation& evaluation);

}  // namespace nll
