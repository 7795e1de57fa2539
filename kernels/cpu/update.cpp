// Gradient norm and AdamW over flat arenas.                                   Bytes: norm 4 n, AdamW 28 n
#include <cmath>

#include "kernels/cpu/cpu_ops.h"

namespace nll::cpu {
namespace {

constexpr std::int64_t norm_block = 1 << 16;

}  // namespace

void CpuOps::global_norm(Tensor norm, Tensor gradients) {
  const std::int64_t n = gradients.size(), blocks = (n + norm_block - 1) / norm_block;
  const float* x = gradients.as<float>();
  float* out = expect_size(norm, "norm", 1);
  double* partials = static_cast<double*>(scratch_.shared(blocks * 8));
  team_->for_each_part(blocks, 1, [&](Range part, int) {
    for (std::int64_t block = part.begin; block < part.end; ++block) {
      const std::int64_t begin = block * norm_block;
      partials[block] = rows_.sum_of_squares(x + begin, std::min(norm_block, n - begin));
    }
  });
  double sum = 0;
  for (std::int64_t block = 0; block < blocks; ++block) sum += partials[block];
  *out = static_cast<float>(std::sqrt(sum));
}

void CpuOps::adamw(Tensor w, Tensor m, Tensor v, Tensor gradients, Tensor norm, float weight_decay,
                   const AdamW& settings) {
  CHECK(settings.step >= 1);
  const std::int64_t n = w.size();
  float *weights = w.as<float>(), *first = expect_size(m, "m", n), *second = expect_size(v, "v", n);
  const float* gradient = expect_size(gradients, "gradients", n);
  const double length = static_cast<double>(*expect_size(norm, "norm", 1));
  if (!std::isfinite(length)) return;
  const double clip = static_cast<double>(settings.clip_norm), step = static_cast<double>(settings.step);
  const double rate = static_cast<double>(settings.learning_rate);
  AdamWStep s;
  s.beta1 = settings.beta1;
  s.beta2 = settings.beta2;
  s.gradient_scale = clip > 0 && length > clip ? static_cast<float>(clip / length) : 1.0f;
  s.decay = static_cast<float>(1 - rate * static_cast<double>(weight_decay));
  s.rate = static_cast<float>(rate / (1 - std::pow(static_cast<double>(settings.beta1), step)));
  s.root = static_cast<float>(1 / std::sqrt(1 - std::pow(static_cast<double>(settings.beta2), step)));
  s.epsilon = settings.epsilon;
  team_->for_each_part(n, 1024, [&](Range part, int) {
    rows_.adamw(weights + part.begin, first + part.begin, second + part.begin, gradient + part.begin, part.size(), s);
  });
}

}  // namespace nll::cpu
