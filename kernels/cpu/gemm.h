// Matrix products of row-major FP32 matrices, cut into one block a thread. OpenBLAS multiplies, on one thread a call:
// its own threading is erratic, and a block that stays with its thread lets the epilogue run while it is in cache.
#pragma once
#include <cstdint>

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

// The block of gemm.c that belongs to `thread`: near-square in what has to be packed, cut at multiples of the
// micro-kernels' tiles and nowhere too small, so that an element's value does not depend on the cut.
Block block_of(const Gemm& gemm, int thread, int threads);

// Computes one block, on the calling thread. `c` and `c_stride` may lead anywhere: `c` is where the block's first
// element goes.
void multiply_block(const Gemm& gemm, const Block& block, float* c, std::int64_t c_stride);
// The same, into its place in gemm.c.
void multiply_block(const Gemm& gemm, const Block& block);

// One thread inside each call, from now on in this process.
void use_one_thread_a_call();

}  // namespace nll::cpu
