// Of B windows at a context of c: a pass over (B,c), and of its rows the last of each window goes through the head.
#include "src/eval/context_loss.h"

#include <algorithm>

namespace nll {

namespace {

// -logp of the last token of each window after the c tokens before it.
std::vector<double> losses_after(const ContextScorer& scorer, std::span<const GoldWindow> windows, std::int64_t c) {
  const std::int64_t B = static_cast<std::int64_t>(windows.size());
  std::vector<std::int32_t> tokens, targets, last;
  for (const GoldWindow& window : windows) {
    tokens.insert(tokens.end(), window.end() - 1 - c, window.end() - 1);
    targets.push_back(window.back());
    last.push_back(static_cast<std::int32_t>(tokens.size()) - 1);
  }
  Device& device = scorer.device;
  const auto uploaded = [&](const std::vector<std::int32_t>& values) {
    const std::int64_t count = static_cast<std::int64_t>(values.size());
    Buffer buffer = device.allocate(4 * count);
    device.upload(buffer.tensor(0, DType::i32, {count}), values.data());
    return buffer;
  };
  const Buffer inputs = uploaded(tokens), wanted = uploaded(targets), rows = uploaded(last);
  const Tensor hidden = scorer.gpt.forward(scorer.weights, inputs.tensor(0, DType::i32, {B, c}));
  const std::int64_t width = hidden.dim(1);
  const Buffer chosen = device.allocate(B * width * bytes_of(hidden.type()));
  const Tensor at_last = chosen.tensor(0, hidden.type(), {B, width});
  scorer.ops.gather_rows(at_last, hidden, rows.tensor(0, DType::i32, {B}));
  std::vector<float> logp(windows.size());
  const Tensor scored =
      scorer.head.score(at_last, wanted.tensor(0, DType::i32, {B}), scorer.weights.wte, false).logp.slice(0, B);
  device.download(logp.data(), scored);
  std::vector<double> losses;
  for (float value : logp) losses.push_back(-static_cast<double>(value));
  return losses;
}

}  // namespace

std::vector<ContextLoss> context_losses(const ContextScorer& scorer, std::span<const GoldWindow> windows,
                                        const std::function<void(std::int64_t, std::int64_t)>& progress) {
  CHECK(!windows.empty());
  const std::int64_t longest = static_cast<std::int64_t>(windows[0].size()) - 1,
                     count = static_cast<std::int64_t>(windows.size());
  CHECK(longest >= 1);
  CHECK(longest <= scorer.positions);
  std::vector<std::int64_t> contexts;
  for (std::int64_t c = 1; c < longest; c *= 2) contexts.push_back(c);
  contexts.push_back(longest);
  std::int64_t all = 0, done = 0;
  for (std::int64_t c : contexts) all += c * count;

  std::vector<std::vector<double>> losses;
  for (std::int64_t c : contexts) {
    std::vector<double>& of = losses.emplace_back();
    const std::size_t batch = static_cast<std::size_t>(scorer.positions / c);
    for (std::size_t begin = 0; begin < windows.size(); begin += batch) {
      const std::span<const GoldWindow> next = windows.subspan(begin, std::min(batch, windows.size() - begin));
      const std::vector<double> found = losses_after(scorer, next, c);
      of.insert(of.end(), found.begin(), found.end());
      done += c * static_cast<std::int64_t>(next.size());
      if (progress) progress(done, all);
    }
  }
  std::vector<ContextLoss> results;
  for (std::size_t i = 0; i < contexts.size(); ++i) {
    std::vector<double> excess;
    for (std::size_t w = 0; w < windows.size(); ++w) excess.push_back(losses[i][w] - losses.back()[w]);
    results.push_back({contexts[i], estimate(losses[i]), estimate(excess)});
  }
  return results;
}

}  // namespace nll
