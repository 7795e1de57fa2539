// Numbers on the device: conversions between FP32 and the storage types, loads and stores of 16 bytes, and the bridge
// from a DType to a C++ type.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/tensor.h"

namespace nll::cuda {

__host__ __device__ inline float to_float(float x) { return x; }
__host__ __device__ inline float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
__host__ __device__ inline float to_float(__half x) { return __half2float(x); }

// Rounded to nearest even.
template <class T>
__host__ __device__ inline T from_float(float x);
template <>
__host__ __device__ inline float from_float<float>(float x) {
  return x;
}
template <>
__host__ __device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}
template <>
__host__ __device__ inline __half from_float<__half>(float x) {
  return __float2half_rn(x);
}

// n neighbours that are loaded and stored together; n * sizeof(T) is 4, 8 or 16 bytes, and the address a multiple of
// it.
template <class T, int n>
struct alignas(n * sizeof(T)) Pack {
  T at[n];
};

// How many of T fill 16 bytes.
template <class T>
inline constexpr int per_16_bytes = static_cast<int>(16 / sizeof(T));

template <int n, class T>
__device__ inline Pack<T, n> load_pack(const T* from) {
  return *reinterpret_cast<const Pack<T, n>*>(from);
}
template <int n, class T>
__device__ inline void store_pack(T* to, const Pack<T, n>& pack) {
  *reinterpret_cast<Pack<T, n>*>(to) = pack;
}

inline bool aligned_to(const void* pointer, std::uintptr_t bytes) {
  return reinterpret_cast<std::uintptr_t>(pointer) % bytes == 0;
}

template <class T>
struct TypeTag {
  using type = T;
};

// f(TypeTag<T>{}) for the T that `type` stands for; FP32, BF16 and FP16 only.
template <class F>
auto with_number_type(DType type, F&& f) {
  switch (type) {
    case DType::bf16:
      return f(TypeTag<__nv_bfloat16>{});
    case DType::f16:
      return f(TypeTag<__half>{});
    default:
      CHECK(type == DType::f32);
      return f(TypeTag<float>{});
  }
}

// f(TypeTag<R>{}, TypeTag<T>{}) for a residual stream (R of kernels/ops.h) that is stored in the compute type or in
// FP32.
template <class F>
void with_residual_types(DType residual, DType compute, F&& f) {
  with_number_type(compute, [&](auto compute_type) {
    if (residual == compute) {
      f(compute_type, compute_type);
    } else {
      CHECK(residual == DType::f32);
      f(TypeTag<float>{}, compute_type);
    }
  });
}

}  // namespace nll::cuda

namespace nll {
template <>
struct DTypeOf<__nv_bfloat16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct DTypeOf<__half> {
  static constexpr DType value = DType::f16;
};
}  // namespace nll
