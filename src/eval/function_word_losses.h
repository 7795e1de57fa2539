// The loss of each function word of a text: what "not" costs beside "the". docs/evaluation.md.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "src/eval/token_class.h"

namespace nll {

struct WordLoss {
  std::string word;
  std::int64_t words = 0, tokens = 0;
  double nll = 0;  // sum over all tokens of the words
  double per_word() const { return words == 0 ? 0 : nll / static_cast<double>(words); }
  double per_token() const { return tokens == 0 ? 0 : nll / static_cast<double>(tokens); }
};

// Adds up target tokens in the order of the text. Words as of ClassScore.
class FunctionWordLosses {
 public:
  explicit FunctionWordLosses(const TokenClasses& classes) : classes_(classes) {}
  void add(std::int32_t target, double nll);
  void end_document() { end_word(); }
  // The function words that came, the most frequent first, equal ones by name. An open word counts.
  std::vector<WordLoss> losses();

 private:
  void end_word();
  const TokenClasses& classes_;
  WordLoss open_;
  std::map<std::string, WordLoss> sums_;
};

}  // namespace nll
