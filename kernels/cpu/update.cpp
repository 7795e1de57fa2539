// Gradient norm and AdamW over flat arenas.                                   Bytes: norm 4 n, AdamW 28 n
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/cpu/cpu_ops.h"

namespace nll::cpu {
namespace {

constexpr std::int64_t norm_block = 1 << 16;
// Gradients times a larger loss scale leave FP16's range.
constexpr float largest_loss_scale = 1 << 24;

UpdateState& update_state(const Tensor& state) {
  CHECK(state.bytes() == static_cast<std::int64_t>(sizeof(UpdateState)));
  return *static_cast<UpdateState*>(state.data());
}

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

void CpuOps::convert(Tensor to, Tensor from) {
  // The CPU computes in FP32 only.
  const std::int64_t n = from.size();
  float* out = expect_size(to, "to", n);
  const float* in = from.as<float>();
  team_->for_each_part(n, 1024, [&](Range part, int) {
    std::memmove(out + part.begin, in + part.begin, static_cast<std::size_t>(part.size()) * sizeof(float));
  });
}

void CpuOps::find_nonfinite(Tensor guard, Into into, Tensor values) {
  float* out = expect_size(guard, "guard", 1);
  const float* x = values.as<float>();
  const std::int64_t n = values.size();
  const auto finite = [](float value) { return std::isfinite(value); };
  const float found = std::all_of(x, x + n, finite) ? 0.0f : std::numeric_limits<float>::quiet_NaN();
  *out = into == Into::add ? *out + found : found;
}

void CpuOps::begin_update(Tensor state, Tensor norm, Tensor guard, const AdamW& settings) {
  UpdateState& s = update_state(state);
  const double scale = static_cast<double>(s.loss_scale);
  const double length =
      static_cast<double>(*expect_size(norm, "norm", 1)) / scale + static_cast<double>(*expect_size(guard, "guard", 1));
  s.norm = static_cast<float>(length);
  if (!std::isfinite(length)) return;
  s.updates += 1;
  const double clip = static_cast<double>(settings.clip_norm), updates = static_cast<double>(s.updates);
  const double rate = static_cast<double>(s.learning_rate);
  s.gradient_factor = static_cast<float>((clip > 0 && length > clip ? clip / length : 1.0) / scale);
  s.rate = static_cast<float>(rate / (1 - std::pow(static_cast<double>(settings.beta1), updates)));
  s.root = static_cast<float>(1 / std::sqrt(1 - std::pow(static_cast<double>(settings.beta2), updates)));
}

void CpuOps::adamw(Tensor w, Tensor rounded, Tensor m, Tensor v, Tensor gradients, float weight_decay, std::int64_t,
                   Tensor state, const AdamW& settings) {
  CHECK(rounded.empty());
  const std::int64_t n = w.size();
  float *weights = w.as<float>(), *first = expect_size(m, "m", n), *second = expect_size(v, "v", n);
  const float* gradient = expect_size(gradients, "gradients", n);
  const UpdateState& now = update_state(state);
  if (!std::isfinite(now.norm)) return;
  AdamWStep s;
  s.beta1 = settings.beta1;
  s.beta2 = settings.beta2;
  s.gradient_scale = now.gradient_factor;
  s.decay = static_cast<float>(1 - static_cast<double>(now.learning_rate) * static_cast<double>(weight_decay));
  s.rate = now.rate;
  s.root = now.root;
  s.epsilon = settings.epsilon;
  team_->for_each_part(n, 1024, [&](Range part, int) {
    rows_.adamw(weights + part.begin, first + part.begin, second + part.begin, gradient + part.begin, part.size(), s);
  });
}

void CpuOps::end_update(Tensor state, const AdamW& settings) {
  UpdateState& s = update_state(state);
  if (settings.loss_scale_interval == 0) return;
  if (!std::isfinite(s.norm)) {
    s.loss_scale = std::max(1.0f, s.loss_scale / 2);
    s.good_updates = 0;
  } else if (++s.good_updates >= settings.loss_scale_interval) {
    s.loss_scale = std::min(largest_loss_scale, s.loss_scale * 2);
    s.good_updates = 0;
  }
}

}  // namespace nll::cpu
