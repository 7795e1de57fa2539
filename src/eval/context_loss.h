// Context loss: what a longer context is worth. The same target tokens, each predicted from the last 1, 2, 4, ...
// tokens before it alone, so that the text is the same in every row and only the context differs. docs/evaluation.md.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "src/eval/estimate.h"
#include "src/eval/gold_windows.h"
#include "src/model/gpt.h"
#include "src/model/head.h"

namespace nll {

struct ContextLoss {
  std::int64_t context = 0;  // tokens that the model saw before each target
  Estimate loss;             // nats per token
  Estimate excess;           // over that with the longest context, paired by target
};

// What scores; all of it must outlive the call.
struct ContextScorer {
  Gpt& gpt;    // of Pass::inference
  Head& head;  // both for `positions` tokens
  Ops& ops;
  Device& device;
  const GptTensors& weights;
  std::int64_t positions = 0;  // tokens of a pass at most
};

// Windows have one length, context + 1 with context <= positions: the last token of each is the target. Contexts are
// the powers of two below the longest, and that. `progress(done, total)` in tokens of the passes; it may throw to stop.
std::vector<ContextLoss> context_losses(const ContextScorer& scorer, std::span<const GoldWindow> windows,
                                        const std::function<void(std::int64_t, std::int64_t)>& progress = {});

}  // namespace nll
