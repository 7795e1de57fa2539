#include "tests/cuda/attention_rows.h"

namespace nll::test {

Reals attention_gradient(const Reals& qkv, const Reals& dy, const Attention& forward, std::int64_t batch,
                         std::int64_t time, std::int64_t heads) {
  const std::int64_t width = static_cast<std::int64_t>(dy.size()) / (batch * time), size = width / heads;
  Reals gradient(qkv.size());
  const double scale = 1 / std::sqrt(static_cast<double>(size));
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t h = 0; h < heads; ++h) {
      const auto at = [&](std::int64_t t, std::int64_t which) {
        return static_cast<std::size_t>(((b * time + t) * 3 + which) * width + h * size);
      };
      for (std::int64_t t = 0; t < time; ++t) {
        const auto y_at = static_cast<std::size_t>((b * time + t) * width + h * size);
        const double lse = forward.lse[static_cast<std::size_t>((b * heads + h) * time + t)];
        double delta = 0;
        for (std::size_t d = 0; d < static_cast<std::size_t>(size); ++d) delta += dy[y_at + d] * forward.y[y_at + d];
        for (std::int64_t j = 0; j <= t; ++j) {
          double score = 0, from_value = 0;
          for (std::size_t d = 0; d < static_cast<std::size_t>(size); ++d) {
            score += qkv[at(t, 0) + d] * qkv[at(j, 1) + d] * scale;
            from_value += dy[y_at + d] * qkv[at(j, 2) + d];
          }
          const double p = std::exp(score - lse), ds = p * (from_value - delta) * scale;
          for (std::size_t d = 0; d < static_cast<std::size_t>(size); ++d) {
            gradient[at(t, 0) + d] += ds * qkv[at(j, 1) + d];
            gradient[at(j, 1) + d] += ds * qkv[at(t, 0) + d];
            gradient[at(j, 2) + d] += p * dy[y_at + d];
          }
        }
      }
    }
  }
  return gradient;
}

}  // namespace nll::test
