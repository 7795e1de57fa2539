// Cross-entropy and its by-products, one row of logits at a time (rows/head.h).                n tokens, V vocabulary
// Bytes: statistics 4 n V, with the gradient 8 n V; the row stays in L2 between the passes.
#include "kernels/cpu/cpu_ops.h"

namespace nll::cpu {
namespace {

// Where a by-product of row i goes; nowhere if its tensor is empty.
template <class T>
void put(const Tensor& tensor, std::int64_t i, T value) {
  if (!tensor.empty()) tensor.as<T>()[i] = value;
}

void expect_statistics(const TokenStatistics& statistics, std::int64_t n) {
  const Tensor* const reals[] = {&statistics.logp,    &statistics.maximum,   &statistics.log_denominator,
                                 &statistics.entropy, &statistics.mean_logp, &statistics.sum_p2};
  for (const Tensor* tensor : reals) {
    if (!tensor->empty()) expect_size(*tensor, "statistic", n);
  }
  for (const Tensor* tensor : {&statistics.argmax, &statistics.rank}) {
    if (tensor->empty()) continue;
    CHECK(tensor->size() == n);
    tensor->as<std::int32_t>();
  }
}

}  // namespace

void CpuOps::cross_entropy_rows(const TokenStatistics& statistics, float* dlogits, Tensor logits, Tensor targets,
                                const float* coefficients, float loss_scale, const HeadShape& shape) {
  const std::int64_t n = targets.size(), vocabulary = shape.vocabulary;
  CHECK(vocabulary >= 1);
  const std::int64_t stored = logits.last();
  CHECK(vocabulary <= stored);
  float* z = expect_rows(logits, "logits", n, stored);
  const std::int32_t* target = targets.as<std::int32_t>();
  expect_statistics(statistics, n);
  team_->for_each_part(n, 1, [&](Range part, int thread) {
    HeadRow row;
    row.scratch = scratch_.floats(thread, vocabulary);
    row.vocabulary = vocabulary;
    row.stored = stored;
    row.pre_scale = shape.pre_scale;
    row.softcap = shape.softcap;
    row.inverse_temperature = shape.inverse_temperature;
    row.want_sum_p2 = !statistics.sum_p2.empty();
    row.want_rank = !statistics.rank.empty();
    for (std::int64_t i = part.begin; i < part.end; ++i) {
      HeadRowStatistics result;
      row.logits = z + i * stored;
      row.gradient = dlogits == nullptr ? nullptr : dlogits + i * stored;
      row.target = target[i];
      if (row.target != ignore_index) {
        CHECK(row.target >= 0);
        CHECK(row.target < vocabulary);
        if (coefficients != nullptr) {
          const float* c = coefficients + 4 * i;
          row.g_logp = c[0] * loss_scale, row.g_lse = c[1] * loss_scale;
          row.g_unif = c[2] * loss_scale, row.g_ent = c[3] * loss_scale;
        }
        result = rows_.head_row(row);
      } else if (row.gradient != nullptr) {
        std::fill_n(row.gradient, stored, 0.0f);
      }
      put(statistics.logp, i, result.logp);
      put(statistics.maximum, i, result.maximum);
      put(statistics.log_denominator, i, result.log_denominator);
      put(statistics.entropy, i, result.entropy);
      put(statistics.mean_logp, i, result.mean_logp);
      put(statistics.sum_p2, i, result.sum_p2);
      put(statistics.argmax, i, result.argmax);
      put(statistics.rank, i, result.rank);
    }
  });
}

void CpuOps::cross_entropy(const TokenStatistics& statistics, Tensor logits, Tensor targets, const HeadShape& shape) {
  cross_entropy_rows(statistics, nullptr, logits, targets, nullptr, 1, shape);
}

void CpuOps::cross_entropy_backward(const TokenStatistics& statistics, Tensor dlogits, Tensor logits, Tensor targets,
                                    Tensor coefficients, Tensor loss_scale, const HeadShape& shape) {
  const float* c = expect(coefficients, "coefficients", {targets.size(), 4});
  float* gradient = expect_rows(dlogits, "dlogits", targets.size(), logits.last());
  const float scale = loss_scale.empty() ? 1.0f : *expect_size(loss_scale, "loss_scale", 1);
  cross_entropy_rows(statistics, gradient, logits, targets, c, scale, shape);
}

}  // namespace nll::cpu
