// All logits of a sample of a text's tokens, for what the head's by-products cannot say.
#pragma once
#include <cstdint>
#include <functional>
#include <span>

#include "src/model/gpt.h"
#include "src/model/head.h"
#include "src/text/loader.h"

namespace nll {

// The logits (V) after scale and softcap of a sampled token; `target`: the token itself.
using LogitObserver = std::function<void(std::span<const float> logits, std::int32_t target)>;

// One token of `one_in` on average; which ones depends on the seed and on their place among the targets alone.
struct TokenSample {
  std::int64_t one_in = 64;
  std::uint64_t seed = 1;
  bool holds(std::int64_t target) const;  // the how many-th target of the text, from 0
};

// Tells `observe` each sampled target of all windows, in their order. Only rows that are sampled go through the head, a
// few at a time: at most `head_rows`, which is HeadChunks::logits of the head. `inputs` is an arena of evaluation_plan
// for the largest batch. Returns how many targets were read: all of them unless `progress(done, total)` said false.
std::int64_t sample_logits(Gpt& gpt, Head& head, std::int64_t head_rows, Device& device, const GptTensors& weights,
                           SequentialWindows& windows, const Arena& inputs, const TokenSample& sample,
                           const LogitObserver& observe,
                           const std::function<bool(std::int64_t, std::int64_t)>& progress = {});

}  // namespace nll
