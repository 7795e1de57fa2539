// Rows on the device: neighbouring elements as floats, and sums over the warps that share a row.
#pragma once
#include <cstdint>
#include <type_traits>

#include "kernels/cuda/number.cuh"
#include "kernels/cuda/warp.cuh"

namespace nll::cuda {

// How many neighbours a thread takes of rows that are stored in two types: 16 bytes of the wider one. All accesses of a
// warp are then whole sectors one after the other.
template <class A, class B = A>
inline constexpr int neighbours = static_cast<int>(16 / (sizeof(A) > sizeof(B) ? sizeof(A) : sizeof(B)));

// n neighbours (4 to 16 bytes, or one) as memory holds them: for what is on its way while other work goes on. In whole
// registers, where a compiler would give each half of a Pack one of its own.
template <class T, int n>
struct Stored {
  Pack<std::uint32_t, static_cast<int>(n * sizeof(T) / 4)> words;

  __device__ float operator[](int k) const {
    if constexpr (sizeof(T) == 4) {
      return __uint_as_float(words.at[k]);
    } else if constexpr (std::is_same_v<T, __nv_bfloat16>) {
      return __uint_as_float(k % 2 == 0 ? words.at[k / 2] << 16 : words.at[k / 2] & 0xffff0000u);
    } else {
      return to_float(__ushort_as_half(static_cast<unsigned short>(words.at[k / 2] >> (k % 2 * 16) & 0xffffu)));
    }
  }
};
template <class T>
struct Stored<T, 1> {
  T element;

  __device__ float operator[](int) const { return to_float(element); }
};

template <int n, class T>
__device__ inline Stored<T, n> load_stored(const T* from) {
  return *reinterpret_cast<const Stored<T, n>*>(from);
}
template <class T, int n>
__device__ inline void unpack(float (&to)[n], const Stored<T, n>& from) {
#pragma unroll
  for (int k = 0; k < n; ++k) to[k] = from[k];
}

// n neighbours, in loads and stores of 16 bytes at most. The address is a multiple of their size, or of 16.
template <int n, class T>
__device__ inline void load_floats(float (&to)[n], const T* from) {
  constexpr int each = n < per_16_bytes<T> ? n : per_16_bytes<T>;
#pragma unroll
  for (int k = 0; k < n; k += each) {
    const Pack<T, each> pack = load_pack<each>(from + k);
#pragma unroll
    for (int j = 0; j < each; ++j) to[k + j] = to_float(pack.at[j]);
  }
}
// Rounded to T, into global memory. Through the compiler's functions for stores: a plain store of 16 bytes nvcc 13.0
// takes apart into stores of 4 where it cannot follow the address.
template <int n, class T>
__device__ inline void store_floats(T* to, const float (&from)[n]) {
  if constexpr (n * sizeof(T) < 4) {
#pragma unroll
    for (int k = 0; k < n; ++k) to[k] = from_float<T>(from[k]);
  } else {
    constexpr int words = static_cast<int>(n * sizeof(T) / 4);
    std::uint32_t word[words];
#pragma unroll
    for (int i = 0; i < words; ++i) {
      if constexpr (sizeof(T) == 4) {
        word[i] = __float_as_uint(from[i]);
      } else if constexpr (std::is_same_v<T, __nv_bfloat16>) {
        const __nv_bfloat162 pair = __floats2bfloat162_rn(from[2 * i], from[2 * i + 1]);
        word[i] = __bfloat16_as_ushort(pair.x) | static_cast<std::uint32_t>(__bfloat16_as_ushort(pair.y)) << 16;
      } else {
        const __half2 pair = __floats2half2_rn(from[2 * i], from[2 * i + 1]);
        word[i] = __half_as_ushort(pair.x) | static_cast<std::uint32_t>(__half_as_ushort(pair.y)) << 16;
      }
    }
    if constexpr (words == 1) {
      *reinterpret_cast<std::uint32_t*>(to) = word[0];
    } else if constexpr (words == 2) {
      __stwb(reinterpret_cast<uint2*>(to), make_uint2(word[0], word[1]));
    } else {
#pragma unroll
      for (int i = 0; i < words; i += 4) {
        __stwb(reinterpret_cast<uint4*>(to) + i / 4, make_uint4(word[i], word[i + 1], word[i + 2], word[i + 3]));
      }
    }
  }
}

// Into shared memory; n is a multiple of 4.
template <int n>
__device__ inline void store_shared(float* to, const float (&from)[n]) {
#pragma unroll
  for (int k = 0; k < n; k += 4) store_pack(to + k, Pack<float, 4>{{from[k], from[k + 1], from[k + 2], from[k + 3]}});
}

// As `T` will hold it.
template <class T>
__device__ inline float rounded_to(float x) {
  return to_float(from_float<T>(x));
}

// Each of `count` numbers summed over `warps` neighbouring warps of the block, which hold one row; all threads of the
// block call it. `shared` has `count` floats a warp of the block and is free again after the caller's next barrier. No
// barrier where warps is 1.
template <int count>
__device__ inline void row_sums(float (&x)[count], int warps, float* shared) {
#pragma unroll
  for (int i = 0; i < count; ++i) x[i] = warp_sum(x[i]);
  if (warps == 1) return;
  const int warp = static_cast<int>(threadIdx.x) / warp_size;
  if (static_cast<int>(threadIdx.x) % warp_size == 0) {
#pragma unroll
    for (int i = 0; i < count; ++i) shared[warp * count + i] = x[i];
  }
  __syncthreads();
  const float* const first = shared + warp / warps * warps * count;
#pragma unroll
  for (int i = 0; i < count; ++i) x[i] = first[i];
  for (int other = 1; other < warps; ++other) {
#pragma unroll
    for (int i = 0; i < count; ++i) x[i] += first[other * count + i];
  }
}

__device__ inline float row_sum(float x, int warps, float* shared) {
  float sums[1] = {x};
  row_sums(sums, warps, shared);
  return sums[0];
}

}  // namespace nll::cuda
