#include "src/eval/function_word_losses.h"

#include <algorithm>

namespace nll {

void FunctionWordLosses::add(std::int32_t target, double nll) {
  const std::size_t id = static_cast<std::size_t>(target);
  const IdClass what = id < classes_.ids.size() ? classes_.ids[id] : IdClass{};
  if (what.begins || !what.letters) end_word();
  if (!what.letters) return;
  open_.word += classes_.letters[id];
  ++open_.tokens;
  open_.nll += nll;
}

void FunctionWordLosses::end_word() {
  if (is_function_word(open_.word)) {
    WordLoss& sum = sums_[open_.word];
    sum.word = open_.word;
    ++sum.words;
    sum.tokens += open_.tokens;
    sum.nll += open_.nll;
  }
  open_ = WordLoss{};
}

std::vector<WordLoss> FunctionWordLosses::losses() {
  end_word();
  std::vector<WordLoss> list;
  for (const auto& [word, sum] : sums_) list.push_back(sum);
  std::stable_sort(list.begin(), list.end(), [](const WordLoss& a, const WordLoss& b) { return a.words > b.words; });
  return list;
}

}  // namespace nll
