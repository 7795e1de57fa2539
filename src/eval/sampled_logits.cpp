// C width, V vocabulary, Vp its stored size, n rows of a chunk.
#include "src/eval/sampled_logits.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "kernels/check.h"
#include "kernels/philox.h"
#include "src/eval/evaluate.h"

namespace nll {

namespace {

constexpr std::int64_t rows_at_a_time = 64;

// Products become logits: scale, then softcap.
void finish(std::vector<float>& logits, const HeadShape& shape) {
  if (shape.pre_scale == 1 && shape.softcap == 0) return;
  for (float& logit : logits) {
    logit *= shape.pre_scale;
    if (shape.softcap > 0) logit = shape.softcap * std::tanh(logit / shape.softcap);
  }
}

}  // namespace

bool TokenSample::holds(std::int64_t target) const {
  const PhiloxBlock block = philox(seed, 0, static_cast<std::uint64_t>(target) / 4);
  return std::uint64_t{block.word[target % 4]} * static_cast<std::uint64_t>(one_in) >> 32 == 0;
}

std::int64_t sample_logits(Gpt& gpt, Head& head, std::int64_t head_rows, Device& device, const GptTensors& weights,
                           SequentialWindows& windows, const Arena& inputs, const TokenSample& sample,
                           const LogitObserver& observe,
                           const std::function<bool(std::int64_t, std::int64_t)>& progress) {
  CHECK(sample.one_in >= 1);
  CHECK(head_rows >= 1);
  const std::int64_t V = head.shape().vocabulary, Vp = weights.wte.dim(0), C = weights.wte.dim(1);
  const std::int64_t most = std::min(rows_at_a_time, head_rows);
  std::int64_t read = 0;
  Batch batch;
  std::vector<std::int64_t> rows;
  std::vector<std::int32_t> targets;
  std::vector<std::byte> staged;
  std::vector<float> logits;
  Buffer gathered;
  while (windows.next(batch)) {
    const std::int64_t B = batch.sequences, T = batch.context, N = B * T;
    rows.clear();
    targets.clear();
    for (std::int64_t i = 0; i < N; ++i) {
      const std::int32_t target = batch.targets[static_cast<std::size_t>(i)];
      if (target == ignore_index || !sample.holds(read++)) continue;
      rows.push_back(i);
      targets.push_back(target);
    }
    if (!rows.empty()) {
      const Tensor tokens = inputs[evaluation_tokens].slice(0, N).reshape({B, T});
      device.upload(tokens, batch.tokens.data());
      const Tensor hidden = gpt.forward(weights, tokens).reshape({N, C});
      const std::int64_t row_bytes = hidden.bytes() / N;
      if (gathered.bytes() == 0) gathered = device.allocate(row_bytes * most);
      for (std::size_t begin = 0; begin < rows.size(); begin += static_cast<std::size_t>(most)) {
        const std::int64_t n = std::min(most, static_cast<std::int64_t>(rows.size() - begin));
        staged.resize(static_cast<std::size_t>(n * row_bytes));
        for (std::int64_t i = 0; i < n; ++i)
          device.download(staged.data() + i * row_bytes, hidden.slice(rows[begin + static_cast<std::size_t>(i)], 1));
        const Tensor chosen = gathered.tensor(0, hidden.type(), {n, C});
        device.upload(chosen, staged.data());
        logits.resize(static_cast<std::size_t>(n * Vp));
        device.download(logits.data(), head.logits(chosen, weights.wte));
        finish(logits, head.shape());
        for (std::int64_t i = 0; i < n; ++i)
          observe(std::span(logits).subspan(static_cast<std::size_t>(i * Vp), static_cast<std::size_t>(V)),
                  targets[begin + static_cast<std::size_t>(i)]);
      }
    }
    if (progress && !progress(read, windows.targets())) break;
  }
  return read;
}

}  // namespace nll
