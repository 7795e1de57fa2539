// Of a window: P tokens of prefix, then C of continuation.
#include "src/eval/exposure_bias.h"

#include <algorithm>

namespace nll {

namespace {

constexpr std::int64_t replaced_lengths[] = {1, 4, 16, 64};
constexpr std::int64_t longest_continuation = 64;

using Tokens = std::vector<std::int32_t>;

// Of each window, for one k.
struct Samples {
  std::vector<double> loss, excess, other, forced, free_running;
};

}  // namespace

ExposureBias measure_exposure(ParallelScorer& parallel, const ContinueText& continue_text,
                              std::span<const std::vector<std::int32_t>> windows, std::uint64_t seed,
                              const std::function<void(std::int64_t, std::int64_t)>& progress) {
  CHECK(!windows.empty());
  const std::int64_t length = static_cast<std::int64_t>(windows[0].size());
  CHECK(length >= 3);
  ExposureBias found;
  found.windows = static_cast<std::int64_t>(windows.size());
  found.continuation = std::clamp<std::int64_t>(length / 4, 1, longest_continuation);
  found.prefix = length - found.continuation;
  const std::size_t P = static_cast<std::size_t>(found.prefix);
  std::vector<std::int64_t> ks;
  for (std::int64_t k : replaced_lengths) {
    if (k < found.prefix) ks.push_back(k);  // one token of the text is left to begin with
  }
  const std::int64_t longest = ks.back();  // P >= 2

  const auto continuation_loss = [&](const ForcedTokens& scored) {
    const std::vector<float>& logp = scored.logp;
    double sum = 0;
    for (std::size_t i = P - 1; i < logp.size(); ++i) sum -= static_cast<double>(logp[i]);
    return sum / static_cast<double>(found.continuation);
  };
  const auto replaced = [&](const Tokens& window, const std::span<const std::int32_t> by) {
    Tokens text = window;
    std::copy(by.begin(), by.end(), text.begin() + static_cast<std::ptrdiff_t>(P - by.size()));
    return text;
  };

  std::vector<double> gold;
  std::vector<Samples> samples(ks.size());
  for (std::size_t w = 0; w < windows.size(); ++w) {
    const Tokens &window = windows[w], &elsewhere = windows[(w + 1) % windows.size()];
    CHECK(static_cast<std::int64_t>(window.size()) == length);
    const std::span<const std::int32_t> prefix = std::span(window).first(P);
    const ForcedTokens forced_pass = parallel.score(window);
    gold.push_back(continuation_loss(forced_pass));
    const std::size_t begin = P - static_cast<std::size_t>(longest);  // of what is written freely
    const Tokens written = continue_text(prefix.first(begin), longest, 0, seed + w);
    CHECK(static_cast<std::int64_t>(written.size()) == longest);
    std::size_t first = 0;
    for (std::size_t i = 0; i < ks.size(); ++i) {
      const std::size_t k = static_cast<std::size_t>(ks[i]);
      const Tokens own = continue_text(prefix.first(P - k), ks[i], 1, seed + w);
      CHECK(own.size() == k);
      samples[i].loss.push_back(continuation_loss(parallel.score(replaced(window, own))));
      samples[i].excess.push_back(samples[i].loss.back() - gold.back());
      if (windows.size() > 1) {
        const Tokens other = replaced(window, std::span(elsewhere).subspan(P - k, k));
        samples[i].other.push_back(continuation_loss(parallel.score(other)) - gold.back());
      }
      double forced = 0, free_running = 0;
      const double steps = static_cast<double>(k - first);
      for (; first < k; ++first) {
        forced += forced_pass.choice[begin + first - 1] == window[begin + first];
        free_running += written[first] == window[begin + first];
      }
      samples[i].forced.push_back(forced / steps);
      samples[i].free_running.push_back(free_running / steps);
    }
    if (progress) progress(static_cast<std::int64_t>(w) + 1, found.windows);
  }
  found.gold = estimate(gold);
  std::int64_t first = 1;
  for (std::size_t i = 0; i < ks.size(); ++i) {
    const Samples& s = samples[i];
    found.curve.push_back({ks[i], estimate(s.loss), estimate(s.excess), estimate(s.other)});
    found.accuracy.push_back({first, ks[i], estimate(s.forced), estimate(s.free_running)});
    first = ks[i] + 1;
  }
  return found;
}

}  // namespace nll
