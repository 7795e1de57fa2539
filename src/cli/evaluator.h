// Evaluator: what `nll eval` measures, over one text or several.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "src/cli/eval_table.h"
#include "src/cli/eval_texts.h"
#include "src/cli/verbs.h"

namespace nll {

// What is read of which text, the same for every way of looking at it.
struct TextReading {
  EvalSource source;
  std::int64_t tokens = 0;  // of each text at most, 0: all
  std::int64_t stride = 0;  // 0: windows do not overlap
  // Throws Error(usage) where windows cannot slide so far in a model of this context.
  void check(std::int64_t context) const;
};

class Evaluator {
 public:
  // Everything but the limits must outlive it. `token_limit`: of each text, 0: all; `stride` as of SequentialWindows.
  Evaluator(const OpenModel& model, Backend& backend, Invocation& invocation, std::int64_t token_limit,
            std::int64_t stride);
  // Counts the tokens of these files, for the loss by frequency.
  void count_training(const std::vector<std::string>& paths);
  // Scores texts one after the other. Throws Error(stopped) when it was asked to stop.
  EvalResults evaluate_all(const std::vector<EvalText>& texts);
  // The loss of up to `count` tokens, spread evenly over all texts, after contexts of 1, 2, 4, ... tokens.
  std::vector<ContextLoss> by_context(const std::vector<EvalText>& texts, std::int64_t count);
  // The loss of each document of all texts, in their order.
  std::vector<DocumentLoss> documents(const std::vector<EvalText>& texts);
  // Tells `observe` each token of a text in its order, and nullptr where a file begins another document.
  void observe(const EvalText& text, const std::function<void(const ScoredToken*)>& observe);
  const TokenLengths& lengths() const { return lengths_; }

 private:
  bool stop(Job& job, std::int64_t done, std::int64_t total);
  std::int32_t end_of_text(const TokenDataset& dataset) const;
  // Tells `observe` each token, and nullptr where a file begins another document.
  Evaluation evaluate_one(const TokenDataset& dataset, std::int32_t end_of_text,
                          const std::function<void(const ScoredToken*, std::int64_t)>& observe);
  EvalResult result(const std::string& name, const Evaluation& evaluation, const Breakdown& breakdown);

  const OpenModel& model_;
  Backend& backend_;
  Invocation& invocation_;
  const ModelConfig& config_;
  std::int64_t token_limit_, stride_, sequences_;
  Gpt gpt_;
  Head head_;
  Arena inputs_;
  TokenLengths lengths_;
  std::vector<std::int64_t> counts_;  // of each id in the training text; empty: not asked for
};

}  // namespace nll
