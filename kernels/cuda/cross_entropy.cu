// Cross-entropy and its by-products, and the gradient of the logits.        n tokens, V vocabulary, Vp stored columns
//   formulas: kernels/ops.h and docs/head.md; the sums of a row: cross_entropy_row.cuh
// Bytes   statistics n V e; gradient n V e + n Vp g more to write (e, g bytes of a logit and of its gradient), and the
//         part of a row that did not fit shared memory once more, which the L2 cache holds when a chunk of tokens is
//         kept near its size. sum_p2 and rank read the row again like that; argmax only where the maximum is.
// Sums    FP32, 16 columns at a time in each thread, then a butterfly over the block: an order that depends on V only.
// Launch  a block a row, the last row first (its logits were written last); 512 threads, 128 for small vocabularies.
//         Two blocks of 512 threads fit a multiprocessor, so that one loads while the other waits for its sums.
// Share of the roof: not yet measured on a GPU.
#include <climits>

#include "kernels/cuda/cross_entropy_gradient.cuh"
#include "kernels/cuda/cross_entropy_row.cuh"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/grid.h"
#include "kernels/cuda/launch.cuh"

namespace nll::cuda {
namespace {

struct RowStatistics {
  float *logp, *maximum, *log_denominator, *entropy, *mean_logp, *sum_p2;
  std::int32_t *argmax, *rank;
};

struct CrossEntropyCall {
  const void* logits;  // (n, stored)
  void* dlogits;       // (n, stored), null: statistics only
  const std::int32_t* targets;
  const float* coefficients;  // (n, 4)
  const float* loss_scale;    // null: 1
  RowStatistics statistics;
  int vocabulary, stored, kept_columns;
  LogitTransform transform;
  float chain;  // the constant part of du/dz
};

__device__ inline void put(float* to, std::int64_t row, float value) {
  if (to != nullptr) to[row] = value;
}
__device__ inline void put(std::int32_t* to, std::int64_t row, std::int32_t value) {
  if (to != nullptr) to[row] = value;
}

template <class Logit, class Gradient, int n, bool capped>
__global__ void __launch_bounds__(row_threads_limit, 2) cross_entropy_kernel(CrossEntropyCall call) {
  using Row = LogitRow<Logit, n>;
  __shared__ RowSums merging[row_threads_limit / warp_size];
  __shared__ float adding[row_threads_limit / warp_size];
  __shared__ int last_before_argmax;  // INT_MAX - argmax
  __shared__ int ranked_ahead;
  const std::int64_t index = static_cast<std::int64_t>(gridDim.x - 1 - blockIdx.x);
  const RowStatistics& statistics = call.statistics;
  const bool first_thread = threadIdx.x == 0;
  const int vocabulary = call.vocabulary, target = call.targets[index];
  Gradient* const dlogits =
      call.dlogits == nullptr ? nullptr : static_cast<Gradient*>(call.dlogits) + index * call.stored;
  if (target == ignore_index) {
    if (dlogits != nullptr) write_zeros<n>(dlogits, call.stored);
    if (first_thread) {
      for (float* to : {statistics.logp, statistics.maximum, statistics.log_denominator, statistics.entropy,
                        statistics.mean_logp, statistics.sum_p2}) {
        put(to, index, 0.0f);
      }
      put(statistics.argmax, index, 0);
      put(statistics.rank, index, 0);
    }
    return;
  }
  const Row row{static_cast<const Logit*>(call.logits) + index * call.stored,
                reinterpret_cast<Logit*>(dynamic_shared()), call.kept_columns, vocabulary};
  const LogitTransform transform = call.transform;
  // A target outside the vocabulary makes logp, and the gradient, not a number: whoever guards the update sees it.
  const bool inside = target >= 0 && target < vocabulary;
  const float z_target = inside ? to_float(row.logits[target]) : NAN;  // read before the gradient takes its place
  const float u_target = transform.apply<capped>(z_target);
  if (first_thread) last_before_argmax = 0, ranked_ahead = 0;

  int largest_at;
  const RowSums own_sums = sum_columns<capped>(row, transform, largest_at);
  const RowSums sums = block_merge(own_sums, merging);
  const float m = sums.maximum;
  const float rest = sums.below + (sums.ties - 1.0f), d = 1.0f + rest, log_d = log1pf(rest);
  const float entropy = log_d - sums.weighted / d;
  if (statistics.argmax != nullptr) {
    // Found again by the few threads that hold the maximum. They read before they write the gradient of these columns.
    if (own_sums.maximum == m && largest_at >= 0) {
      atomicMax(&last_before_argmax, INT_MAX - first_equal<capped>(row, transform, largest_at, m));
    }
    __syncthreads();
    if (first_thread) statistics.argmax[index] = last_before_argmax == 0 ? 0 : INT_MAX - last_before_argmax;
  }
  if (statistics.sum_p2 != nullptr || statistics.rank != nullptr) {
    float squares;
    int ahead;
    sum_squares_and_rank<capped>(row, transform, m, u_target, target, squares, ahead);
    atomicAdd(&ranked_ahead, ahead);
    squares = block_reduce(squares, adding, Sum{});
    if (first_thread) {
      put(statistics.sum_p2, index, squares / (d * d));
      put(statistics.rank, index, inside ? ranked_ahead + 1 : 0);
    }
  }
  const float x_target = u_target - m;
  if (first_thread) {
    put(statistics.logp, index, x_target - log_d);
    put(statistics.maximum, index, m);
    put(statistics.log_denominator, index, log_d);
    put(statistics.entropy, index, entropy);
    put(statistics.mean_logp, index, sums.total / static_cast<float>(vocabulary) - log_d);
  }
  if (dlogits == nullptr) return;

  const float* c = call.coefficients + 4 * index;
  const float g_logp = c[0], g_lse = c[1], g_unif = c[2], g_ent = c[3];
  if (g_logp == 0.0f && g_lse == 0.0f && g_unif == 0.0f && g_ent == 0.0f) {
    write_zeros<n>(dlogits, call.stored);
    return;
  }
  float scale = call.chain;
  if (call.loss_scale != nullptr) scale *= *call.loss_scale;
  if (!inside) scale = NAN;
  const RowGradient gradient{m, log_d, scale * (g_lse - g_logp - g_unif - g_ent * entropy) / d, scale * g_ent / d,
                             scale * g_unif / static_cast<float>(vocabulary)};
  if (g_ent != 0.0f) {
    write_gradient<capped, true>(dlogits, row, call.stored, gradient, transform);
  } else {
    write_gradient<capped, false>(dlogits, row, call.stored, gradient, transform);
  }
  // The target's own, where 1 - p keeps its digits, by the thread that wrote this column before.
  if (inside && target / n % static_cast<int>(blockDim.x) == static_cast<int>(threadIdx.x)) {
    const float e = expf(x_target), p = e / d;
    const float others = (x_target == 0.0f ? rest : d - e) / d;
    const float by_p = g_lse - g_unif - g_ent * (entropy + fmaxf(x_target, lowest_exponent) - log_d);
    const float own = p * by_p + g_unif / static_cast<float>(vocabulary) + g_logp * others;
    dlogits[target] = from_float<Gradient>(scale * own * transform.derivative<capped>(z_target));
  }
}

// Enough threads that a chunk or two is left for each.
int row_threads(int vocabulary) { return vocabulary <= 2048 ? 128 : row_threads_limit; }

// Of a row of logits in shared memory, such that two blocks fit a multiprocessor and a quarter of its fast memory
// remains for loads that are on their way: 256 kB in all on 9.0 and 10.0, 192 on 8.0 and 8.7, 128 elsewhere.
int kept_bytes(int capability) {
  if (capability / 10 == 9 || capability / 10 == 10) return 96 * 1024;
  return capability == 80 || capability == 87 ? 64 * 1024 : 32 * 1024;
}

template <class Logit, class Gradient, int n, bool capped>
void launch_rows(CrossEntropyCall call, std::int64_t rows, const Stream& stream) {
  // Kept only for those who read it again.
  const bool again = call.dlogits != nullptr || call.statistics.sum_p2 != nullptr || call.statistics.rank != nullptr;
  const int threads = row_threads(call.vocabulary), chunk = LogitRow<Logit, n>::chunk(threads);
  const int fitting = again ? kept_bytes(stream.capability()) / static_cast<int>(sizeof(Logit)) / chunk : 0;
  call.kept_columns = std::min(fitting, (call.vocabulary + chunk - 1) / chunk) * chunk;
  launch(cross_entropy_kernel<Logit, Gradient, n, capped>, blocks_of(rows), dim3(static_cast<unsigned>(threads)),
         sizeof(Logit) * static_cast<std::size_t>(call.kept_columns), stream.get(), call);
}

template <class Logit, class Gradient>
void launch_typed(const CrossEntropyCall& call, std::int64_t rows, bool capped, const Stream& stream) {
  constexpr int n = per_16_bytes<Logit>;
  const bool aligned =
      call.stored % n == 0 && aligned_to(call.logits, 16) && aligned_to(call.dlogits, n * sizeof(Gradient));
  if (aligned && capped) return launch_rows<Logit, Gradient, n, true>(call, rows, stream);
  if (aligned) return launch_rows<Logit, Gradient, n, false>(call, rows, stream);
  if (capped) return launch_rows<Logit, Gradient, 1, true>(call, rows, stream);
  launch_rows<Logit, Gradient, 1, false>(call, rows, stream);
}

void launch_cross_entropy(const TokenStatistics& statistics, Tensor dlogits, Tensor logits, Tensor targets,
                          Tensor coefficients, Tensor loss_scale, const HeadShape& shape, const Stream& stream) {
  const std::int64_t n = targets.size(), stored = logits.last();
  CHECK(shape.vocabulary >= 1);
  CHECK(shape.vocabulary <= stored);
  CHECK(stored < std::int64_t{1} << 24);  // columns are counted in FP32
  if (n == 0) return;
  const auto reals = [n](const Tensor& tensor, const char* name) {
    return tensor.empty() ? nullptr : static_cast<float*>(expect_size(tensor, name, DType::f32, n));
  };
  const auto integers = [n](const Tensor& tensor, const char* name) {
    return tensor.empty() ? nullptr : static_cast<std::int32_t*>(expect_size(tensor, name, DType::i32, n));
  };
  CrossEntropyCall call{};
  call.logits = expect_rows(logits, "logits", logits.type(), n, stored);
  call.targets = integers(targets, "targets");
  call.statistics = {reals(statistics.logp, "logp"),
                     reals(statistics.maximum, "maximum"),
                     reals(statistics.log_denominator, "log_denominator"),
                     reals(statistics.entropy, "entropy"),
                     reals(statistics.mean_logp, "mean_logp"),
                     reals(statistics.sum_p2, "sum_p2"),
                     integers(statistics.argmax, "argmax"),
                     integers(statistics.rank, "rank")};
  if (!dlogits.empty()) {
    call.dlogits = expect_rows(dlogits, "dlogits", dlogits.type(), n, stored);
    call.coefficients = static_cast<float*>(expect(coefficients, "coefficients", DType::f32, {n, 4}));
    if (!loss_scale.empty())
      call.loss_scale = static_cast<float*>(expect_size(loss_scale, "loss_scale", DType::f32, 1));
  }
  call.vocabulary = static_cast<int>(shape.vocabulary);
  call.stored = static_cast<int>(stored);
  const bool capped = shape.softcap != 0;
  call.transform.factor = shape.pre_scale * shape.inverse_temperature;
  call.transform.inner = capped ? shape.pre_scale / shape.softcap : 0;
  call.transform.outer = shape.softcap * shape.inverse_temperature;
  call.chain = shape.pre_scale * shape.inverse_temperature;
  with_number_type(logits.type(), [&](auto tag) {
    using Logit = typename decltype(tag)::type;
    if (dlogits.empty() || dlogits.type() == logits.type()) {
      launch_typed<Logit, Logit>(call, n, capped, stream);
    } else {
      if constexpr (sizeof(Logit) == sizeof(float)) {
        CHECK(call.dlogits != call.logits);
        with_number_type(dlogits.type(), [&](auto gradient) {
          launch_typed<float, typename decltype(gradient)::type>(call, n, capped, stream);
        });
      } else {
        CHECK(dlogits.type() == logits.type());
      }
    }
  });
}

}  // namespace

void CudaOps::cross_entropy(const TokenStatistics& statistics, Tensor logits, Tensor targets, const HeadShape& shape) {
  launch_cross_entropy(statistics, {}, logits, targets, {}, {}, shape, *stream_);
}

void CudaOps::cross_entropy_backward(const TokenStatistics& statistics, Tensor dlogits, Tensor logits, Tensor targets,
                                     Tensor coefficients, Tensor loss_scale, const HeadShape& shape) {
  CHECK(!dlogits.empty());
  launch_cross_entropy(statistics, dlogits, logits, targets, coefficients, loss_scale, shape, *stream_);
}

}  // namespace nll::cuda
