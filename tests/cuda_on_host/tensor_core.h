// What ptx.cuh needs of a warp's matrix unit and of asynchronous copies.
#pragma once
#include <cstdint>

#include "tests/cuda_on_host/block.h"
#include "tests/cuda_on_host/collectives.h"
#include "tests/cuda_on_host/number_types.h"

namespace nll::cuda_on_host {

struct MatrixFragments {  // of one lane, as kernels/cuda/ptx.cuh has them
  float* d;
  const std::uint32_t* a;
  const std::uint32_t* b;
};
// d += a b for the fragments of 32 lanes; FP32 sums in the order of k, beginning with d.
template <class T>
void combine_matrix_product(void* const* parts, int count);
extern template void combine_matrix_product<__nv_bfloat16>(void* const*, int);
extern template void combine_matrix_product<__half>(void* const*, int);

// ldmatrix of 2 or 4 matrices.
void load_matrices(const char* name, std::uint32_t* registers, int matrices, bool transposed, const void* shared,
                   const char* file, int line);

void begin_copy(void* shared, const void* global, bool valid, const char* file, int line);
void commit_copies();
void wait_for_copies(int groups_left);

}  // namespace nll::cuda_on_host
