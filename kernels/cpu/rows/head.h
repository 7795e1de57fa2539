// One row of the head: log-probability of the target and its by-products, and the gradient of the logits.
//   u = logits after scale, softcap and temperature;  m = max u (first at a);  d' = sum_{j != a} e^(u_j - m);
//   d = 1 + d';  lp_j = (u_j - m) - ln d
// Passes over u: maximum; sums; gradient. u is in cache after the first (200 kB at V = 50257). Sums run in FP32 over
// groups of columns and in FP64 over the groups; d' keeps its digits when the target is nearly certain.
#pragma once
#include "kernels/cpu/rows/math.h"

namespace nll::cpu {
namespace {

NLL_INLINE Floats softcapped(Floats x, float softcap) { return softcap * hyperbolic_tangent(x / softcap); }

// u of the row: the logits themselves where the transform is the identity, else written to scratch.
NLL_INLINE const float* transformed_row(const HeadRow& row) {
  const float scale = row.pre_scale, heat = row.inverse_temperature, cap = row.softcap;
  if (cap == 0 && scale == 1 && heat == 1) return row.logits;
  if (cap == 0) {
    for_vectors(row.vocabulary, [&](auto at) NLL_BODY { at.put(row.scratch, at.get(row.logits) * scale * heat); });
  } else {
    for_vectors(row.vocabulary,
                [&](auto at) NLL_BODY { at.put(row.scratch, softcapped(at.get(row.logits) * scale, cap) * heat); });
  }
  return row.scratch;
}

// The first largest element.
NLL_INLINE std::int64_t first_maximum(const float* u, std::int64_t n) {
  const float low = -__builtin_huge_valf();
  Floats largest[4] = {broadcast(low), broadcast(low), broadcast(low), broadcast(low)};
  std::int64_t i = 0;
  for (; i + 4 * width <= n; i += 4 * width) {
    for (int j = 0; j < 4; ++j) largest[j] = maximum(load(u + i + j * width), largest[j]);
  }
  float m = largest_lane(maximum(maximum(largest[0], largest[1]), maximum(largest[2], largest[3])));
  for (; i < n; ++i) m = u[i] > m ? u[i] : m;
  for (std::int64_t begin = 0; begin + width <= n; begin += width) {
    const Ints equal = load(u + begin) == broadcast(m);
    std::uint64_t pairs[width / 2];
    __builtin_memcpy(pairs, &equal, sizeof(pairs));
    std::uint64_t any = 0;
    for (int j = 0; j < width / 2; ++j) any |= pairs[j];
    if (any == 0) continue;
    for (std::int64_t j = begin;; ++j) {
      if (u[j] == m) return j;
    }
  }
  for (std::int64_t j = n - n % width; j < n; ++j) {
    if (u[j] == m) return j;
  }
  return 0;  // only NaN
}

struct HeadSums {
  double d = 0, s1 = 0, su = 0, p2 = 0;  // sums of e, e x, x, e^2 with x = u - m, e = exp(x)
};

NLL_INLINE void add_head_sums(HeadSums& sums, const float* u, std::int64_t begin, std::int64_t end, float m) {
  constexpr std::int64_t group = 64 * width;
  for (std::int64_t from = begin; from < end; from += group) {
    const std::int64_t n = from + group < end ? group : end - from;
    Floats d[2] = {}, s1[2] = {}, su[2] = {}, p2[2] = {};
    const auto add = [&](Floats x, int which) NLL_BODY {
      const Floats e = exponential(x);
      d[which] += e;
      s1[which] += e * x;
      su[which] += x;
      p2[which] += e * e;
    };
    std::int64_t i = 0;
    for (; i + 2 * width <= n; i += 2 * width) {
      add(load(u + from + i) - m, 0);
      add(load(u + from + i + width) - m, 1);
    }
    for (; i + width <= n; i += width) add(load(u + from + i) - m, 0);
    if (i < n) {
      const Ints live = first_lanes(n - i);
      const Floats x = live ? load_part(u + from + i, n - i) - m : Floats{};
      const Floats e = live ? exponential(x) : Floats{};
      d[1] += e;
      s1[1] += e * x;
      su[1] += x;
      p2[1] += e * e;
    }
    sums.d += static_cast<double>(sum_lanes(d[0] + d[1]));
    sums.s1 += static_cast<double>(sum_lanes(s1[0] + s1[1]));
    sums.su += static_cast<double>(sum_lanes(su[0] + su[1]));
    sums.p2 += static_cast<double>(sum_lanes(p2[0] + p2[1]));
  }
}

NLL_INLINE std::int32_t target_rank(const float* u, std::int64_t n, std::int64_t target) {
  const float own = u[target];
  std::int64_t rank = 1;
  for (std::int64_t j = 0; j < target; ++j) rank += u[j] >= own ? 1 : 0;
  for (std::int64_t j = target + 1; j < n; ++j) rank += u[j] > own ? 1 : 0;
  return static_cast<std::int32_t>(rank);
}

// dz_j for all j, then the target's own again in FP64, where 1 - p_y keeps its digits.
NLL_INLINE void head_gradient(const HeadRow& row, const float* u, float m, std::int64_t argmax, const HeadSums& sums,
                              double log_d, double entropy) {
  const double d = 1 + sums.d;
  const std::int64_t n = row.vocabulary;
  const double heat = static_cast<double>(row.inverse_temperature), scale = static_cast<double>(row.pre_scale);
  const double g_logp = static_cast<double>(row.g_logp), g_lse = static_cast<double>(row.g_lse);
  const double g_unif = static_cast<double>(row.g_unif), g_ent = static_cast<double>(row.g_ent);
  const double chain = heat * scale;
  // The target: everything read before the row is overwritten.
  const double x_target = static_cast<double>(u[row.target]) - static_cast<double>(m);
  const double e_target = row.target == argmax ? 1.0 : __builtin_exp(x_target);
  const double p = e_target / d;
  const double rest = (row.target == argmax ? sums.d : d - e_target) / d;
  double own =
      p * (g_lse - g_unif - g_ent * (entropy + x_target - log_d)) + g_unif / static_cast<double>(n) + g_logp * rest;
  own *= chain;
  if (row.softcap != 0) {
    const double e = __builtin_exp(-2 * __builtin_fabs(scale * static_cast<double>(row.logits[row.target])) /
                                   static_cast<double>(row.softcap));
    own *= 4 * e / ((1 + e) * (1 + e));
  }
  // The chain's constant part goes into the constants of the row.
  const float each = static_cast<float>(chain * (-g_logp + g_lse - g_unif - g_ent * entropy) / d);
  const float uniform = static_cast<float>(chain * g_unif / static_cast<double>(n));
  const float per_logp = static_cast<float>(chain * g_ent / d);
  const float log_denominator = static_cast<float>(log_d);
  const float pre_scale = row.pre_scale, cap = row.softcap;
  const float* z = row.logits;
  float* gradient = row.gradient;
  if (cap != 0) {
    for_vectors(n, [&](auto at) NLL_BODY {
      const Floats x = at.get(u) - m;
      const Floats g = exponential(x) * (each - per_logp * (x - log_denominator)) + uniform;
      at.put(gradient, g * tanh_derivative(at.get(z) * pre_scale / cap));
    });
  } else if (per_logp != 0) {
    for_vectors(n, [&](auto at) NLL_BODY {
      const Floats x = at.get(u) - m;
      at.put(gradient, exponential(x) * (each - per_logp * (x - log_denominator)) + uniform);
    });
  } else {
    for_vectors(n, [&](auto at) NLL_BODY { at.put(gradient, exponential(at.get(u) - m) * each + uniform); });
  }
  gradient[row.target] = static_cast<float>(own);
  for (std::int64_t j = n; j < row.stored; ++j) gradient[j] = 0;
}

HeadRowStatistics head_row(const HeadRow& row) {
  const float* u = transformed_row(row);
  const std::int64_t n = row.vocabulary;
  const std::int64_t argmax = first_maximum(u, n);
  const float m = u[argmax];
  HeadSums sums;
  add_head_sums(sums, u, 0, argmax, m);
  add_head_sums(sums, u, argmax + 1, n, m);
  const double d = 1 + sums.d;
  const double log_d = __builtin_log1p(sums.d);
  const double entropy = log_d - sums.s1 / d;
  HeadRowStatistics statistics;
  statistics.maximum = m;
  statistics.argmax = static_cast<std::int32_t>(argmax);
  statistics.log_denominator = static_cast<float>(log_d);
  statistics.logp = static_cast<float>(static_cast<double>(u[row.target] - m) - log_d);
  statistics.entropy = static_cast<float>(entropy);
  statistics.mean_logp = static_cast<float>(sums.su / static_cast<double>(n) - log_d);
  statistics.sum_p2 = static_cast<float>((1 + sums.p2) / (d * d));
  if (row.want_rank) statistics.rank = target_rank(u, n, row.target);
  if (row.gradient != nullptr) {
    if (row.g_logp == 0 && row.g_lse == 0 && row.g_unif == 0 && row.g_ent == 0) {
      __builtin_memset(row.gradient, 0, static_cast<std::size_t>(row.stored) * sizeof(float));
    } else {
      head_gradient(row, u, m, argmax, sums, log_d, entropy);
    }
  }
  return statistics;
}

}  // namespace
}  // namespace nll::cpu
