// Multiple choice: which ending does the model find most likely, by each way of making endings of different length
// comparable? Definitions: docs/evaluation.md.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "kernels/arena.h"
#include "src/eval/choice_question.h"
#include "src/model/gpt.h"
#include "src/model/head.h"

namespace nll {

// What an ending's score is: the sum of its tokens' log-probabilities, that sum per unit of length, or that sum less
// the ending's log-probability after "Answer:".
enum class ChoiceNorm { sum, token, byte, character, pmi };
constexpr std::array<ChoiceNorm, 5> choice_norms = {ChoiceNorm::sum, ChoiceNorm::token, ChoiceNorm::byte,
                                                    ChoiceNorm::character, ChoiceNorm::pmi};
const char* choice_norm_name(ChoiceNorm norm);

struct EndingScore {
  double logp = 0;           // sum over tokens, nats
  double unconditional = 0;  // the same after "Answer:"
  std::int64_t tokens = 0, bytes = 0, characters = 0;
};
// The ending with the largest score; of equal ones the first.
std::size_t choose_ending(std::span<const EndingScore> endings, ChoiceNorm norm);

struct ChoiceResult {
  std::int64_t questions = 0;
  std::int64_t cut = 0;                            // endings whose context did not fit
  std::array<std::int64_t, 5> correct{};           // by choice_norms
  bool lengths = false, unconditional = false;     // are bytes and characters known, and pmi?
  std::vector<std::array<std::size_t, 5>> chosen;  // of each question, by choice_norms
  bool has(ChoiceNorm norm) const;
};

class MultipleChoice {
 public:
  // Everything must outlive it. Works on `sequences` endings at a time.
  MultipleChoice(const ModelConfig& model, const HeadConfig& head, Ops& ops, Device& device, const GptTensors& weights,
                 std::int64_t sequences, const Numerics& numerics = {});
  // Scores all questions. `answer`: the tokens of "Answer:"; empty: no pmi. Contexts that are too long lose their
  // beginning; Error(bad_data) for an ending that is longer than the model's context. `progress(done, endings)` may
  // throw to stop.
  ChoiceResult evaluate(std::span<const EncodedQuestion> questions, std::span<const std::int32_t> answer,
                        const Progress& progress = {});
  // Sum of log-probabilities of `ending` after the part of `context` that fits, for many pairs.
  struct Pair {
    std::span<const std::int32_t> context, ending;
  };
  std::vector<double> score(std::span<const Pair> pairs, const Progress& progress = {});

 private:
  void score_batch(std::span<const Pair> pairs, std::span<const std::size_t> order, std::vector<double>& sums);

  Device& device_;
  GptTensors weights_;
  std::int64_t context_, sequences_;
  Gpt gpt_;
  Head head_;
  Arena inputs_;
};

}  // namespace nll
