// Sums, gradient norm and AdamW over flat arenas.            Bytes: norm 4 n, AdamW 28 n, sum of R parts 4 n (R + 1)
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/cpu/cpu_ops.h"

namespace nll::cpu {
namespace {

// Gradients times a larger loss scale leave FP16's range.
constexpr float largest_loss_scale = 1 << 24;

// Elements that are summed over all parts before the next: they stay in the first cache.
constexpr std::int64_t sum_block = 1024;

struct Bf16 {
  std::uint16_t bits;
};

UpdateState& update_state(const Tensor& state) {
  CHECK(state.bytes() == static_cast<std::int64_t>(sizeof(UpdateState)));
  return *static_cast<UpdateState*>(state.data());
}

float to_float(float x) { return x; }
float to_float(Bf16 x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16); }

// To nearest even; a NaN stays one. Without branches, so that loops over it are vectorised.
Bf16 to_bf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const bool nan = static_cast<std::int32_t>(bits & 0x7fffffff) > 0x7f800000;
  const std::uint32_t nearest = bits + 0x7fff + (bits >> 16 & 1), quiet = bits | 0x400000;
  return {static_cast<std::uint16_t>((nan ? quiet : nearest) >> 16)};
}

template <class T>
void add_to(float* out, const T* in, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) out[i] += to_float(in[i]);
}

// Parts are `stride` apart; sums elements [0, n) of `ranks` of them. A tree's left half is the largest power of two.
template <class T>
void sum_in_order(float* out, const T* in, std::int64_t stride, std::int64_t n, std::int64_t ranks, SumOrder order) {
  if (ranks == 1) {
    for (std::int64_t i = 0; i < n; ++i) out[i] = to_float(in[i]);
    return;
  }
  if (ranks == 2 || order == SumOrder::sequence) {
    for (std::int64_t i = 0; i < n; ++i) out[i] = to_float(in[i]) + to_float(in[stride + i]);
    for (std::int64_t r = 2; r < ranks; ++r) add_to(out, in + r * stride, n);
    return;
  }
  std::int64_t half = 2;
  while (2 * half < ranks) half *= 2;
  sum_in_order(out, in, stride, n, half, order);
  if (ranks - half == 1) {
    add_to(out, in + half * stride, n);
    return;
  }
  float right[sum_block];
  sum_in_order(right, in + half * stride, stride, n, ranks - half, order);
  add_to(out, right, n);
}

template <class T>
void sum_all(ThreadTeam& team, float* out, const T* in, std::int64_t n, std::int64_t ranks, SumOrder order) {
  team.for_each_part(n, sum_block, [&](Range part, int) {
    for (std::int64_t begin = part.begin; begin < part.end; begin += sum_block)
      sum_in_order(out + begin, in + begin, n, std::min(sum_block, part.end - begin), ranks, order);
  });
}

}  // namespace

void CpuOps::add(Tensor to, Tensor from) {
  const std::int64_t n = to.size();
  float* sum = to.as<float>();
  const float* more = from.as<float>();
  CHECK(from.size() == n);
  team_->for_each_part(n, 1024, [&](Range part, int) {
    for (std::int64_t i = part.begin; i < part.end; ++i) sum[i] += more[i];
  });
}

void CpuOps::sum_parts(Tensor sum, Tensor parts, SumOrder order) {
  const std::int64_t n = sum.size(), ranks = parts.dim(0);
  CHECK(parts.size() == ranks * n);
  float* out = sum.as<float>();
  if (parts.type() == DType::bf16) {
    sum_all(*team_, out, static_cast<const Bf16*>(parts.data()), n, ranks, order);
  } else {
    sum_all(*team_, out, parts.as<float>(), n, ranks, order);
  }
}

void CpuOps::square_sums(Tensor sums, Tensor values) {
  const std::int64_t n = values.size(), blocks = (n + norm_block - 1) / norm_block;
  const float* x = values.as<float>();
  CHECK(sums.size() == blocks);
  double* out = sums.as<double>();
  team_->for_each_part(blocks, 1, [&](Range part, int) {
    for (std::int64_t block = part.begin; block < part.end; ++block) {
      const std::int64_t begin = block * norm_block;
      out[block] = rows_.sum_of_squares(x + begin, std::min(norm_block, n - begin));
    }
  });
}

void CpuOps::norm(Tensor norm, Tensor sums) {
  const double* x = sums.as<double>();
  double sum = 0;
  for (std::int64_t block = 0; block < sums.size(); ++block) sum += x[block];
  *expect_size(norm, "norm", 1) = static_cast<float>(std::sqrt(sum));
}

void CpuOps::convert(Tensor to, Tensor from) {
  const std::int64_t n = from.size();
  CHECK(to.size() == n);
  const auto each = [&](auto* out, const auto* in, const auto& converted) {
    team_->for_each_part(n, 1024, [out, in, converted](Range part, int) {
      for (std::int64_t i = part.begin; i < part.end; ++i) out[i] = converted(in[i]);
    });
  };
  // The CPU computes in FP32 only; BF16 is how gradients may travel between ranks.
  if (to.type() == DType::bf16) {
    each(static_cast<Bf16*>(to.data()), from.as<float>(), [](float x) { return to_bf16(x); });
  } else if (from.type() == DType::bf16) {
    each(to.as<float>(), static_cast<const Bf16*>(from.data()), [](Bf16 x) { return to_float(x); });
  } else {
    each(to.as<float>(), from.as<float>(), [](float x) { return x; });
  }
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
