#include "src/eval/generated_text.h"

#include <algorithm>
#include <limits>

#include "kernels/check.h"

namespace nll {

namespace {

constexpr double nothing = std::numeric_limits<double>::quiet_NaN();

using Ngram = std::span<const std::int32_t>;

void add_ngrams(const TokenText& text, std::size_t n, std::vector<Ngram>& all) {
  for (std::size_t i = 0; i + n <= text.size(); ++i) all.push_back(Ngram(text).subspan(i, n));
}

std::size_t count_different(std::vector<Ngram>& all) {
  std::sort(all.begin(), all.end(), [](Ngram a, Ngram b) { return std::ranges::lexicographical_compare(a, b); });
  const auto end = std::unique(all.begin(), all.end(), [](Ngram a, Ngram b) { return std::ranges::equal(a, b); });
  return static_cast<std::size_t>(end - all.begin());
}

double share(std::size_t part, std::size_t whole) {
  return whole == 0 ? nothing : static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

double distinct_ngrams(std::span<const TokenText> texts, std::int64_t n) {
  CHECK(n >= 1);
  std::vector<Ngram> all;
  for (const TokenText& text : texts) add_ngrams(text, static_cast<std::size_t>(n), all);
  const std::size_t count = all.size();
  return share(count_different(all), count);
}

RepeatedNgrams repeated_ngrams(std::span<const TokenText> texts, std::int64_t n) {
  CHECK(n >= 1);
  RepeatedNgrams result;
  double sum = 0;
  for (const TokenText& text : texts) {
    std::vector<Ngram> all;
    add_ngrams(text, static_cast<std::size_t>(n), all);
    if (all.empty()) continue;
    const std::size_t count = all.size();
    sum += 1 - share(count_different(all), count);
    ++result.texts;
  }
  result.mean = result.texts == 0 ? nothing : sum / static_cast<double>(result.texts);
  return result;
}

double repeated_tokens(std::span<const TokenText> texts, std::int64_t window) {
  CHECK(window >= 1);
  std::size_t repeated = 0, tokens = 0;
  for (const TokenText& text : texts) {
    for (std::size_t i = 0; i < text.size(); ++i) {
      const std::size_t before = std::min(i, static_cast<std::size_t>(window));
      const auto at = text.begin() + static_cast<std::ptrdiff_t>(i);
      repeated += std::find(at - static_cast<std::ptrdiff_t>(before), at, *at) != at;
    }
    tokens += text.size();
  }
  return share(repeated, tokens);
}

bool ends_in_loop(std::span<const std::int32_t> text) {
  constexpr std::size_t longest_period = 32, copies = 3;
  for (std::size_t period = 1; period <= longest_period && copies * period <= text.size(); ++period) {
    const std::size_t same = (copies - 1) * period;
    if (std::ranges::equal(text.last(same), text.last(same + period).first(same))) return true;
  }
  return false;
}

double loop_rate(std::span<const TokenText> texts) {
  const auto loops =
      std::count_if(texts.begin(), texts.end(), [](const TokenText& text) { return ends_in_loop(text); });
  return share(static_cast<std::size_t>(loops), texts.size());
}

}  // namespace nll
