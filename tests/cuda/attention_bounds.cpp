#include "tests/cuda/attention_bounds.h"

#include <algorithm>

namespace nll::test {
namespace {

// One head of packed tensors.
struct Head {
  const AttentionDims& dims;
  std::int64_t b, h;

  std::size_t packed(std::int64_t t, std::int64_t which) const {
    return static_cast<std::size_t>(((b * dims.time + t) * 3 + which) * dims.width() + h * dims.head_size);
  }
  std::size_t own(std::int64_t t) const {
    return static_cast<std::size_t>((b * dims.time + t) * dims.width() + h * dims.head_size);
  }
  std::size_t row(std::int64_t t) const { return static_cast<std::size_t>((b * dims.heads + h) * dims.time + t); }
  std::size_t size() const { return static_cast<std::size_t>(dims.head_size); }
};

template <class Body>
void for_each_head(const AttentionDims& dims, Body&& body) {
  for (std::int64_t b = 0; b < dims.batch; ++b) {
    for (std::int64_t h = 0; h < dims.heads; ++h) body(Head{dims, b, h});
  }
}

// 2^x ends at the smallest normal number of FP32, below which it is 0.
const double smallest_power = std::ldexp(1.0, -126);
// What rounding may add to a number near zero: half the smallest FP16 number. BF16 reaches as far down as FP32.
double smallest_step(DType type) { return type == DType::f16 ? std::ldexp(1.0, -25) : smallest_power; }

// sum_d a_d b_d and the sum of the magnitudes.
struct Dot {
  double value = 0, magnitude = 0;
};
Dot dot_of(const double* a, const double* b, std::size_t n) {
  Dot dot;
  for (std::size_t d = 0; d < n; ++d) {
    dot.value += a[d] * b[d];
    dot.magnitude += std::abs(a[d] * b[d]);
  }
  return dot;
}

// Scores of query t, and x_t.
struct ScoreRow {
  Reals score;
  double relative_error = 0;
};
ScoreRow score_row(const Reals& qkv, const Head& head, std::int64_t t) {
  const double scale = 1 / std::sqrt(static_cast<double>(head.dims.head_size));
  const double size = static_cast<double>(head.dims.head_size);
  ScoreRow row;
  for (std::int64_t j = 0; j <= t; ++j) {
    const Dot dot = dot_of(&qkv[head.packed(t, 0)], &qkv[head.packed(j, 1)], head.size());
    row.score.push_back(dot.value * scale);
    const double error = 2 * size * epsilon * dot.magnitude * scale + 4 * epsilon * std::abs(row.score.back());
    row.relative_error = std::max(row.relative_error, error);
  }
  row.relative_error += (2 * static_cast<double>(head.dims.time) + 16) * epsilon;
  return row;
}

}  // namespace

BoundedAttention bounded_attention(const Reals& qkv, const AttentionDims& dims, DType type) {
  const double unit = unit_of(type), step = smallest_step(type);
  const auto elements = static_cast<std::size_t>(dims.batch * dims.time * dims.width());
  const auto rows = static_cast<std::size_t>(dims.batch * dims.heads * dims.time);
  BoundedAttention result{{Reals(elements), Reals(elements)}, {Reals(rows), Reals(rows)}};
  for_each_head(dims, [&](const Head& head) {
    for (std::int64_t t = 0; t < dims.time; ++t) {
      const ScoreRow row = score_row(qkv, head, t);
      const double largest = *std::max_element(row.score.begin(), row.score.end()), x = row.relative_error;
      double denominator = 0;
      for (const double score : row.score) denominator += std::exp(score - largest);
      const double lse = largest + std::log(denominator);
      result.lse.value[head.row(t)] = lse;
      result.lse.bound[head.row(t)] = x + 4 * epsilon * std::abs(lse);
      for (std::size_t d = 0; d < head.size(); ++d) {
        double sum = 0, magnitude = 0, all = 0;
        for (std::int64_t j = 0; j <= t; ++j) {
          const double v = qkv[head.packed(j, 2) + d], p = std::exp(row.score[static_cast<std::size_t>(j)] - lse);
          sum += p * v;
          magnitude += p * std::abs(v);
          all += std::abs(v);
        }
        result.y.value[head.own(t) + d] = sum;
        result.y.bound[head.own(t) + d] = (unit + 2 * x) * magnitude + unit * std::abs(sum) + step * (all + 1);
      }
    }
  });
  return result;
}

Bounded bounded_attention_gradient(const Reals& qkv, const Reals& dy, const Attention& forward,
                                   const AttentionDims& dims, DType type) {
  const double unit = unit_of(type), step = smallest_step(type), size = static_cast<double>(dims.head_size);
  const double scale = 1 / std::sqrt(size);
  Bounded result{attention_gradient(qkv, dy, forward, dims.batch, dims.time, dims.heads), Reals(qkv.size())};
  for_each_head(dims, [&](const Head& head) {
    for (std::int64_t t = 0; t < dims.time; ++t) {
      const ScoreRow row = score_row(qkv, head, t);
      const double lse = forward.lse[head.row(t)], x = row.relative_error + 4 * epsilon * std::abs(lse);
      const Dot own = dot_of(&dy[head.own(t)], &forward.y[head.own(t)], head.size());
      for (std::int64_t j = 0; j <= t; ++j) {
        const Dot from_value = dot_of(&dy[head.own(t)], &qkv[head.packed(j, 2)], head.size());
        const double p = std::exp(row.score[static_cast<std::size_t>(j)] - lse);
        const double factor = std::abs(from_value.value - own.value), ds = p * factor;
        const double p_error = (unit + 2 * x) * p + step;
        const double sums = p * 2 * size * epsilon * (from_value.magnitude + own.magnitude);
        const double ds_error = (unit + 2 * x) * ds + sums + smallest_power * factor + step;
        for (std::size_t d = 0; d < head.size(); ++d) {
          result.bound[head.packed(t, 0) + d] += ds_error * scale * std::abs(qkv[head.packed(j, 1) + d]);
          result.bound[head.packed(j, 1) + d] += ds_error * scale * std::abs(qkv[head.packed(t, 0) + d]);
          result.bound[head.packed(j, 2) + d] += p_error * std::abs(dy[head.own(t) + d]);
        }
      }
    }
  });
  for (std::size_t i = 0; i < qkv.size(); ++i) result.bound[i] += unit * std::abs(result.value[i]) + step;
  return result;
}

void expect_within(const Reals& actual, const Bounded& expected) {
  ASSERT_EQ(actual.size(), expected.value.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double difference = std::abs(actual[i] - expected.value[i]);
    ASSERT_TRUE(difference <= expected.bound[i])
        << "element " << i << ": " << actual[i] << ", expected " << expected.value[i] << ", difference " << difference
        << " above " << expected.bound[i];
  }
}

}  // namespace nll::test
