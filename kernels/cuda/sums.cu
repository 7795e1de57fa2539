// Sums of what ranks and micro-batches hold.
//
// Bytes    add 12 n; sum_parts n (R sizeof part + 4)
// Sums     FP32, in the order of ranks or in the binary tree over them: the same bits as on a CPU
// Launch   256 threads a block, 16 bytes an access (one element where an address is not aligned)
// H100     share of the roof: not yet measured on a GPU
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/grid.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/row.cuh"

namespace nll::cuda {
namespace {

constexpr int threads = 256;
constexpr int tree_levels = 11;  // fewer than 2^11 ranks

template <int n>
__global__ void __launch_bounds__(threads) add_elements(float* to, const float* from, std::int64_t count) {
  const std::int64_t first = (static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x) * n;
  if (first + n > count) return;
  float x[n], y[n];
  load_floats(x, to + first);
  load_floats(y, from + first);
#pragma unroll
  for (int k = 0; k < n; ++k) x[k] += y[k];
  store_floats(to + first, x);
}

// Parts are `count` elements apart.
template <class T, int n>
__global__ void __launch_bounds__(threads) sum_in_sequence(float* sum, const T* parts, std::int64_t count, int ranks) {
  const std::int64_t first = (static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x) * n;
  if (first + n > count) return;
  float total[n], x[n];
  load_floats(total, parts + first);
  for (int r = 1; r < ranks; ++r) {
    load_floats(x, parts + r * count + first);
#pragma unroll
    for (int k = 0; k < n; ++k) total[k] += x[k];
  }
  store_floats(sum + first, total);
}

// Like counting in binary: level j holds the sum of 2^j parts until the next such sum is there. Levels are unrolled so
// that they stay in registers; all threads take the same branches.
template <class T, int n>
__global__ void __launch_bounds__(threads) sum_in_tree(float* sum, const T* parts, std::int64_t count, int ranks) {
  const std::int64_t first = (static_cast<std::int64_t>(blockIdx.x) * threads + threadIdx.x) * n;
  if (first + n > count) return;
  float waiting[tree_levels][n] = {}, x[n] = {};
  for (int r = 0; r < ranks; ++r) {
    load_floats(x, parts + r * count + first);
    bool carried = true;
#pragma unroll
    for (int level = 0; level < tree_levels; ++level) {
      if (!carried) continue;
      carried = (r >> level & 1) != 0;
#pragma unroll
      for (int k = 0; k < n; ++k) {
        if (carried) {
          x[k] = waiting[level][k] + x[k];
        } else {
          waiting[level][k] = x[k];
        }
      }
    }
  }
  bool any = false;
#pragma unroll
  for (int level = 0; level < tree_levels; ++level) {
    if ((ranks >> level & 1) == 0) continue;
#pragma unroll
    for (int k = 0; k < n; ++k) x[k] = any ? waiting[level][k] + x[k] : waiting[level][k];
    any = true;
  }
  store_floats(sum + first, x);
}

}  // namespace

void CudaOps::add(Tensor to, Tensor from) {
  const std::int64_t count = to.size();
  auto* const sum = static_cast<float*>(expect_size(to, "to", DType::f32, count));
  const auto* const more = static_cast<const float*>(expect_size(from, "from", DType::f32, count));
  const bool vectors = aligned_to(sum, 16) && aligned_to(more, 16) && count % 4 == 0;
  launch(vectors ? add_elements<4> : add_elements<1>, blocks_of(pieces(count, threads * (vectors ? 4 : 1))), threads, 0,
         stream_->get(), sum, more, count);
}

void CudaOps::sum_parts(Tensor sum, Tensor parts, SumOrder order) {
  const std::int64_t count = sum.size(), ranks = parts.dim(0);
  auto* const out = static_cast<float*>(expect_size(sum, "sum", DType::f32, count));
  expect_size(parts, "parts", parts.type(), ranks * count);
  CHECK(ranks >= 1);
  CHECK(ranks < (1 << tree_levels));
  with_number_type(parts.type(), [&](auto type) {
    using T = typename decltype(type)::type;
    const auto* const in = static_cast<const T*>(parts.data());
    const bool vectors = aligned_to(out, 16) && aligned_to(in, 4 * sizeof(T)) && count % 4 == 0;
    const auto kernel = order == SumOrder::sequence ? (vectors ? sum_in_sequence<T, 4> : sum_in_sequence<T, 1>)
                                                    : (vectors ? sum_in_tree<T, 4> : sum_in_tree<T, 1>);
    launch(kernel, blocks_of(pieces(count, threads * (vectors ? 4 : 1))), threads, 0, stream_->get(), out, in, count,
           static_cast<int>(ranks));
  });
}

}  // namespace nll::cuda
