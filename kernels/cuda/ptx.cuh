// The one place for inline PTX: a function an instruction, for compute capability 8.0 and up. All 32 lanes of a warp
// call the matrix functions together. Layouts: PTX ISA, "Warp Level Matrix Instructions"
// (https://docs.nvidia.com/cuda/parallel-thread-execution/), in the words g = lane / 4, t = lane % 4.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

namespace nll::cuda {

// d (16x8, FP32) += a (16x16) b (16x8), factors of type T: __nv_bfloat16 or __half, two in a register, the one with
// the lower index in the lower half. Row and column of what a lane holds:
//   a[0]: row g, columns 2t, 2t+1      a[1]: row g+8, columns 2t, 2t+1
//   a[2]: row g, columns 2t+8, 2t+9    a[3]: row g+8, columns 2t+8, 2t+9
//   b[0]: rows 2t, 2t+1 of column g    b[1]: rows 2t+8, 2t+9 of column g
//   d[0], d[1]: row g, columns 2t, 2t+1    d[2], d[3]: row g+8, columns 2t, 2t+1
template <class T>
__device__ inline void mma_m16n8k16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  static_assert(std::is_same_v<T, __nv_bfloat16> || std::is_same_v<T, __half>, "mma: BF16 or FP16 factors");
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
}

// Addresses as ldmatrix and cp.async take them: 32 bits, within the shared window.
__device__ inline std::uint32_t shared_address(const void* shared) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
}

// Four 8x8 matrices of 16-bit elements from shared memory. Lane i gives the address, a multiple of 16 bytes, of row
// i % 8 of matrix i / 8; r[j] then holds of matrix j: row g, columns 2t (lower half) and 2t+1. With matrices 0 to 3
// being the quarters (top left, bottom left, top right, bottom right) of a row-major 16x16 tile, r is `a` of
// mma_m16n8k16.
__device__ inline void ldmatrix_x4(std::uint32_t (&r)[4], const void* shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(shared))
               : "memory");
}

// The same with each matrix transposed: r[j] holds rows 2t (lower half) and 2t+1 of column g of matrix j as stored.
// From a row-major (k, n) tile this makes `b` of mma_m16n8k16.
__device__ inline void ldmatrix_x4_transposed(std::uint32_t (&r)[4], const void* shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(shared))
               : "memory");
}

// Two matrices; the addresses are those of lanes 0 to 15, the other lanes' are not used (but must be valid).
__device__ inline void ldmatrix_x2(std::uint32_t (&r)[2], const void* shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(shared))
               : "memory");
}

__device__ inline void ldmatrix_x2_transposed(std::uint32_t (&r)[2], const void* shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(shared))
               : "memory");
}

// Copies 16 bytes from global to shared memory, past the registers and later (not through the L1 cache); both addresses
// are multiples of 16. Where not `valid` the 16 bytes become zero and `global` is not read (any valid address will do).
// The bytes are there for this thread after cp_async_wait, for the others after a barrier behind that.
__device__ inline void cp_async_16(void* shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
               "r"(valid ? 16 : 0)
               : "memory");
}

// Closes this thread's group of the copies since the last commit (it may be empty).
__device__ inline void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most the n groups that were committed last are still on their way; 0: until all have arrived.
template <int n>
__device__ inline void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory");
}

// 2^x with a relative error of about 2^-22; subnormal inputs and results become zero.
__device__ inline float exp2_approximate(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

}  // namespace nll::cuda
