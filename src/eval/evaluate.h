// Evaluation out of the head's by-products: loss, perplexity, bits per byte, accuracy, entropy, calibration.
// Definitions: docs/evaluation.md.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "src/model/gpt.h"
#include "src/model/head.h"
#include "src/text/token_files.h"
#include "src/text/tokenizer.h"

namespace nll {

// What a target token counts as. Special tokens have 0 bytes.
struct TokenLengths {
  std::vector<std::int32_t> bytes;       // of each id
  std::vector<std::uint8_t> special;     // 1 for special tokens
  std::vector<std::int32_t> characters;  // code points that begin in the token
};
TokenLengths token_lengths(const Tokenizer& tokenizer);

struct CalibrationBin {
  std::int64_t count = 0, correct = 0;
  double confidence_sum = 0;
};

struct Evaluation {
  std::int64_t tokens = 0, bytes = 0, characters = 0;
  double loss = 0;                                                       // nats per token
  double perplexity = 0;                                                 // e^loss
  double bits_per_token = 0, bits_per_byte = 0, bits_per_character = 0;  // special targets left out of NLL and length
  double bits_per_byte_total = 0;                                        // NLL of special targets included
  double accuracy = 0, top5 = 0, entropy = 0, brier = 0;
  double ece = 0;  // 15 bins, top-1
  std::array<CalibrationBin, 15> calibration{};
  bool complete = true;  // false: stopped before the end
};

// Scores everything `windows` gives. `progress(done, total)` is called after each batch; returning false stops there
// and the result says complete = false.
Evaluation evaluate(Gpt& gpt, Head& head, Device& device, const GptTensors& weights, SequentialWindows& windows,
                    const TokenLengths& lengths, std::int64_t sequences, std::int64_t context,
                    const std::function<bool(std::int64_t, std::int64_t)>& progress);

}  // namespace nll
