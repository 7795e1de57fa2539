// Matrix products of row-major FP32 matrices, cut into one block a thread, so that the epilogue runs while a block is
// in its thread's cache. Two ways to multiply: the packed product of the instruction set (rows/product.h), and
// OpenBLAS, on one thread a call. is_packed() says which takes a product.
#pragma once
#include <cstdint>

#include "kernels/cpu/rows.h"
#include "kernels/cpu/team.h"

namespace nll::cpu {

// c (M,N) = a b + beta c, where nn: a (M,K), b (K,N);  nt: a (M,K), b (N,K) transposed;  tn: a (K,M) transposed, b
// (K,N)
enum class Product { nn, nt, tn };

struct Gemm {
  Product product = Product::nn;
  std::int64_t m = 0, n = 0, k = 0;
  const float* a = nullptr;
  std::int64_t a_stride = 0;  // elements from one row to the next, as stored
  const float* b = nullptr;
  std::int64_t b_stride = 0;
  float* c = nullptr;
  std::int64_t c_stride = 0;
  float beta = 0;
};

// A block of c.
struct Block {
  Range rows, columns;
  bool empty() const { return rows.size() <= 0 || columns.size() <= 0; }
};

// Whether `rows` multiplies this faster than OpenBLAS. Depends on the whole product, not on its cut.
bool is_packed(const Gemm& gemm, const RowKernels& rows);

// The block of gemm.c that belongs to `thread`: near-square in what has to be packed, cut at multiples of the
// micro-kernels' tiles, and so that an element's value does not depend on the cut. The first is for multiply_block, the
// second for multiply_packed_block.
Block block_of(const Gemm& gemm, int thread, int threads);
Block packed_block_of(const Gemm& gemm, const RowKernels& rows, int thread, int threads);

// Computes one block with OpenBLAS, on the calling thread. `c` and `c_stride` may lead anywhere: `c` is where the
// block's first element goes.
void multiply_block(const Gemm& gemm, const Block& block, float* c, std::int64_t c_stride);
// The same, into its place in gemm.c.
void multiply_block(const Gemm& gemm, const Block& block);
// The same with the packed product; bias (gemm.n) or null is added. `scratch` has rows.product_scratch floats.
void multiply_packed_block(const Gemm& gemm, const RowKernels& rows, const Block& block, float* c,
                           std::int64_t c_stride, const float* bias, float* scratch);

// One thread inside each call, from now on in this process.
void use_one_thread_a_call();

}  // namespace nll::cpu
