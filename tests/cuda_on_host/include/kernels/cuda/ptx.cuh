// The functions of the product's ptx.cuh on the host: matrix functions are meetings of a warp, and a copy by cp.async
// arrives at the wait for it, not before: until then its target holds NaNs.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "tests/cuda_on_host/tensor_core.h"

namespace nll::cuda {

template <class T>
void mma_m16n8k16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], NLL_CALLED_FROM) {
  static_assert(std::is_same_v<T, __nv_bfloat16> || std::is_same_v<T, __half>, "mma: BF16 or FP16 factors");
  cuda_on_host::MatrixFragments fragments{d, a, b};
  const cuda_on_host::Meeting meeting{"mma_m16n8k16", file, line, cuda_on_host::whole_warp, &fragments};
  cuda_on_host::meet(meeting, cuda_on_host::combine_matrix_product<T>);
}

inline void ldmatrix_x4(std::uint32_t (&r)[4], const void* shared, NLL_CALLED_FROM) {
  cuda_on_host::load_matrices("ldmatrix_x4", r, 4, false, shared, file, line);
}
inline void ldmatrix_x4_transposed(std::uint32_t (&r)[4], const void* shared, NLL_CALLED_FROM) {
  cuda_on_host::load_matrices("ldmatrix_x4_transposed", r, 4, true, shared, file, line);
}
inline void ldmatrix_x2(std::uint32_t (&r)[2], const void* shared, NLL_CALLED_FROM) {
  cuda_on_host::load_matrices("ldmatrix_x2", r, 2, false, shared, file, line);
}
inline void ldmatrix_x2_transposed(std::uint32_t (&r)[2], const void* shared, NLL_CALLED_FROM) {
  cuda_on_host::load_matrices("ldmatrix_x2_transposed", r, 2, true, shared, file, line);
}

inline void cp_async_16(void* shared, const void* global, bool valid, NLL_CALLED_FROM) {
  cuda_on_host::begin_copy(shared, global, valid, file, line);
}
inline void cp_async_commit() { cuda_on_host::commit_copies(); }
template <int n>
void cp_async_wait() {
  cuda_on_host::wait_for_copies(n);
}

inline float exp2_approximate(float x) {
  constexpr float smallest_normal = 0x1p-126f;
  const float y = std::exp2(std::fabs(x) < smallest_normal ? 0.0f : x);
  return y < smallest_normal ? 0.0f : y;
}

}  // namespace nll::cuda
