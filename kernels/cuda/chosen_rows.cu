// Rows of a matrix by index.                                           n rows of C, m of them chosen by `rows`, in
// order
//   gather: out[i] = in[rows[i]];   scatter: out[rows[i]] (+)= in[i], with Into::write all other rows become 0
// Bytes    gather 2 m C e + 4 m; scatter m C e read and n C e written, or 3 m C e where it adds; e bytes an element
// Sums     one addition at most, in FP32, rounded once
// Launch   a warp a row of `out` (where it adds: of `in`), 8 rows a block; 16-byte accesses, or one by one where C or
// an
//          address keeps them away. A scatter that writes finds each row of `out` among the chosen by bisection, from
//          the caches: so it needs one pass and no memory
// H100     share of the roof: not yet measured on a GPU
#include <cmath>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/grid.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/row.cuh"

namespace nll::cuda {
namespace {

constexpr int rows_per_block = 8;

template <class T>
struct RowsCall {
  T* out;
  const T* in;
  const std::int32_t* chosen;
  std::int64_t m, n, width;
};

__device__ inline std::int64_t row_of_warp() {
  return static_cast<std::int64_t>(blockIdx.x) * rows_per_block + threadIdx.x / warp_size;
}

template <class T, int n>
__device__ inline void copy_row(T* to, const T* from, std::int64_t width) {
  for (std::int64_t column = threadIdx.x % warp_size * n; column < width; column += warp_size * n) {
    store_pack(to + column, load_pack<n>(from + column));
  }
}

template <class T, int n>
__device__ inline void fill_row(T* to, float value, std::int64_t width) {
  Pack<T, n> pack;
#pragma unroll
  for (int k = 0; k < n; ++k) pack.at[k] = from_float<T>(value);
  for (std::int64_t column = threadIdx.x % warp_size * n; column < width; column += warp_size * n) {
    store_pack(to + column, pack);
  }
}

template <class T, int n>
__global__ void __launch_bounds__(rows_per_block* warp_size) gather(const RowsCall<T> call) {
  const std::int64_t i = row_of_warp();
  if (i >= call.m) return;
  const std::int64_t row = call.chosen[i];
  T* const to = call.out + i * call.width;
  if (row >= 0 && row < call.n) {
    copy_row<T, n>(to, call.in + row * call.width, call.width);
  } else {
    fill_row<T, n>(to, NAN, call.width);
  }
}

template <class T, int n>
__global__ void __launch_bounds__(rows_per_block* warp_size) scatter(const RowsCall<T> call) {
  const std::int64_t row = row_of_warp();
  if (row >= call.n) return;
  std::int64_t begin = 0, end = call.m;  // the first chosen row that is not below `row`
  while (begin < end) {
    const std::int64_t middle = begin + (end - begin) / 2;
    if (call.chosen[middle] < row) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  T* const to = call.out + row * call.width;
  if (begin < call.m && call.chosen[begin] == row) {
    copy_row<T, n>(to, call.in + begin * call.width, call.width);
  } else {
    fill_row<T, n>(to, 0.0f, call.width);
  }
}

template <class T, int n>
__global__ void __launch_bounds__(rows_per_block* warp_size) scatter_add(const RowsCall<T> call) {
  const std::int64_t i = row_of_warp();
  if (i >= call.m) return;
  const std::int64_t row = call.chosen[i];
  if (row < 0 || row >= call.n) return;
  T* const to = call.out + row * call.width;
  const T* const from = call.in + i * call.width;
  for (std::int64_t column = threadIdx.x % warp_size * n; column < call.width; column += warp_size * n) {
    float sum[n], more[n];
    load_floats(sum, to + column);
    load_floats(more, from + column);
#pragma unroll
    for (int k = 0; k < n; ++k) sum[k] += more[k];
    store_floats(to + column, sum);
  }
}

// `all`: (n,C), `few`: (m,C), of one type; f(call, whether 16-byte accesses are possible).
template <class F>
void with_rows(Tensor out, Tensor in, Tensor all, Tensor few, Tensor rows, F f) {
  CHECK(all.rank() == 2);
  with_number_type(all.type(), [&]<class T>(TypeTag<T>) {
    RowsCall<T> call{};
    call.m = rows.size();
    call.n = all.dim(0);
    call.width = all.dim(1);
    expect(few, "chosen rows", all.type(), {call.m, call.width});
    call.out = static_cast<T*>(out.data());
    call.in = static_cast<const T*>(in.data());
    call.chosen = rows.as<std::int32_t>();
    f(call, call.width % per_16_bytes<T> == 0 && aligned_to(call.out, 16) && aligned_to(call.in, 16));
  });
}

template <class T>
void launch_rows(void (*kernel)(RowsCall<T>), std::int64_t rows, const Stream& stream, const RowsCall<T>& call) {
  launch(kernel, blocks_of(pieces(rows, rows_per_block)), rows_per_block * warp_size, 0, stream.get(), call);
}

}  // namespace

void CudaOps::gather_rows(Tensor out, Tensor in, Tensor rows) {
  with_rows(out, in, in, out, rows, [&]<class T>(const RowsCall<T>& call, bool vectors) {
    launch_rows<T>(vectors ? gather<T, per_16_bytes<T>> : gather<T, 1>, call.m, *stream_, call);
  });
}

void CudaOps::scatter_rows(Tensor out, Into into, Tensor in, Tensor rows) {
  with_rows(out, in, out, in, rows, [&]<class T>(const RowsCall<T>& call, bool vectors) {
    constexpr int wide = per_16_bytes<T>;
    if (into == Into::write) {
      launch_rows<T>(vectors ? scatter<T, wide> : scatter<T, 1>, call.n, *stream_, call);
    } else {
      launch_rows<T>(vectors ? scatter_add<T, wide> : scatter_add<T, 1>, call.m, *stream_, call);
    }
  });
}

}  // namespace nll::cuda
