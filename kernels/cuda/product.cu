// A matrix product for every size and alignment.                  c (m,n) = beta c + sum_k a(i,k) b(k,j), any layouts
// Blocks of 256 threads make tiles of 32 x 32 of c, four elements a thread, from tiles of 16 of k that go through
// shared memory as FP32.
// Bytes      (m k ceil(n/32) + k n ceil(m/32)) e_in + m n (1 + beta) e_out
// Sums       FP32, in the order of k: bitwise repeatable, the same whatever else is computed
// Launch     one block a tile, 4352 bytes of shared memory
// Roof       share not yet measured on a GPU. No tensor cores: a safety net, not a fast path.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/number.cuh"
#include "kernels/cuda/product.h"

namespace nll::cuda {
namespace {

constexpr int tile = 32, depth = 16, side = 16;  // side * side threads

// Where element (row, column) lies.
struct Strides {
  std::int64_t row, column;
};

// Row r of `to` becomes `depth` elements of the vector that begins at (first + r) * outer, from `begin` of k on; zeros
// beyond the edges. Neighbouring threads take neighbours in memory: along k where its stride is 1, else across.
template <class T>
__device__ void load_tile(float (*to)[depth + 1], const T* from, std::int64_t first, std::int64_t count,
                          std::int64_t outer, std::int64_t begin, std::int64_t k, std::int64_t inner) {
  const int thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < tile * depth; i += side * side) {
    const int r = inner == 1 ? i / depth : i % tile;
    const int l = inner == 1 ? i % depth : i / tile;
    const bool inside = first + r < count && begin + l < k;
    to[r][l] = inside ? to_float(from[(first + r) * outer + (begin + l) * inner]) : 0.0f;
  }
}

template <class In, class Out>
__global__ void product_tiles(Out* c, const In* a, const In* b, std::int64_t m, std::int64_t n, std::int64_t k,
                              Strides a_strides, Strides b_strides, bool add) {
  __shared__ float a_tile[tile][depth + 1];
  __shared__ float b_tile[tile][depth + 1];
  const std::int64_t across = (n + tile - 1) / tile;
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) / across * tile;
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) % across * tile;
  const int x = static_cast<int>(threadIdx.x) % side, y = static_cast<int>(threadIdx.x) / side;
  float sum[2][2] = {};
  for (std::int64_t begin = 0; begin < k; begin += depth) {
    load_tile(a_tile, a, row, m, a_strides.row, begin, k, a_strides.column);
    load_tile(b_tile, b, column, n, b_strides.column, begin, k, b_strides.row);
    __syncthreads();
    for (int l = 0; l < depth; ++l) {
      for (int i = 0; i < 2; ++i) {
        for (int j = 0; j < 2; ++j) sum[i][j] = fmaf(a_tile[y + i * side][l], b_tile[x + j * side][l], sum[i][j]);
      }
    }
    __syncthreads();
  }
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 2; ++j) {
      const std::int64_t at_row = row + y + i * side, at_column = column + x + j * side;
      if (at_row >= m || at_column >= n) continue;
      Out* to = c + at_row * n + at_column;
      *to = from_float<Out>(add ? to_float(*to) + sum[i][j] : sum[i][j]);
    }
  }
}

}  // namespace

void own_product(const Stream& stream, const GemmCall& call) {
  CHECK(call.epilogue == Epilogue::none);
  CHECK((call.out == call.in || call.out == DType::f32));
  const Strides a = call.product == Product::tn ? Strides{1, call.m} : Strides{call.k, 1};
  const Strides b = call.product == Product::nt ? Strides{1, call.k} : Strides{call.n, 1};
  const std::int64_t tiles = checked_product((call.m + tile - 1) / tile, (call.n + tile - 1) / tile);
  CHECK(tiles < std::int64_t{1} << 31);
  const auto queue = [&]<class In, class Out>(TypeTag<In>, TypeTag<Out>) {
    launch(product_tiles<In, Out>, static_cast<unsigned>(tiles), side * side, 0, stream.get(),
           static_cast<Out*>(call.c), static_cast<const In*>(call.a), static_cast<const In*>(call.b), call.m, call.n,
           call.k, a, b, call.beta != 0);
  };
  with_number_type(call.in, [&](auto in) {
    if (call.out == DType::f32) {
      queue(in, TypeTag<float>{});
    } else {
      queue(in, in);
    }
  });
}

}  // namespace nll::cuda
