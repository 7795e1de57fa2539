// CUDA's functions of one thread, for a host compiler: reinterpretation, bits, rounding, approximations (here exact),
// cached loads and stores (here plain), and the integer atomics.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "tests/cuda_on_host/vector_types.h"

// ---- reinterpretation
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }

// ---- bits
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return std::countl_zero(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1; }
inline int __ffsll(long long x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned long long>(x)) + 1; }
inline unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int i = 0; i < 32; ++i) reversed |= ((x >> i) & 1u) << (31 - i);
  return reversed;
}
inline unsigned __umulhi(unsigned x, unsigned y) {
  return static_cast<unsigned>((static_cast<unsigned long long>(x) * y) >> 32);
}
inline int __mulhi(int x, int y) { return static_cast<int>((static_cast<long long>(x) * y) >> 32); }
inline unsigned long long __umul64hi(unsigned long long x, unsigned long long y) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<unsigned long long>((static_cast<Wide>(x) * y) >> 64);
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>(((static_cast<unsigned long long>(high) << 32 | low) << (shift & 31)) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((static_cast<unsigned long long>(high) << 32 | low) >> (shift & 31));
}
// Byte i of the result is the byte that nibble i of `selector` names, of the eight bytes of x (0 to 3) and y (4 to 7).
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const unsigned long long bytes = static_cast<unsigned long long>(y) << 32 | x;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) {
    const unsigned nibble = (selector >> (4 * i)) & 15u;
    unsigned byte = static_cast<unsigned>(bytes >> (8 * (nibble & 7u))) & 0xffu;
    if ((nibble & 8u) != 0) byte = (byte & 0x80u) != 0 ? 0xffu : 0u;
    result |= byte << (8 * i);
  }
  return result;
}

// ---- rounding to integers: what does not fit becomes the nearest that does, NaN becomes 0
namespace nll::cuda_on_host {
template <class Integer>
Integer saturated(double x) {
  if (x != x) return 0;
  if (x <= static_cast<double>(std::numeric_limits<Integer>::min())) return std::numeric_limits<Integer>::min();
  if (x >= static_cast<double>(std::numeric_limits<Integer>::max())) return std::numeric_limits<Integer>::max();
  return static_cast<Integer>(x);
}
}  // namespace nll::cuda_on_host
inline int __float2int_rn(float x) { return nll::cuda_on_host::saturated<int>(std::nearbyint(x)); }
inline int __float2int_rd(float x) { return nll::cuda_on_host::saturated<int>(std::floor(x)); }
inline int __float2int_ru(float x) { return nll::cuda_on_host::saturated<int>(std::ceil(x)); }
inline int __float2int_rz(float x) { return nll::cuda_on_host::saturated<int>(std::trunc(x)); }
inline unsigned __float2uint_rn(float x) { return nll::cuda_on_host::saturated<unsigned>(std::nearbyint(x)); }
inline unsigned __float2uint_rz(float x) { return nll::cuda_on_host::saturated<unsigned>(std::trunc(x)); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }

// ---- arithmetic that is rounded once, and GPU approximations, which a test must not rely on to the last bit
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __fmaf_rn(float x, float y, float z) { return std::fma(x, y, z); }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline float __frsqrt_rn(float x) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(x))); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __saturatef(float x) { return x >= 0.0f ? std::min(x, 1.0f) : 0.0f; }
inline float rsqrtf(float x) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(x))); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
// The C library declares some of these names for itself, so they are macros here.
#define __expf(x) expf(x)
#define __logf(x) logf(x)
#define __log2f(x) log2f(x)
#define __log10f(x) log10f(x)
#define __exp10f(x) powf(10.0f, x)
#define __powf(x, y) powf(x, y)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
#define __tanf(x) tanf(x)
#define __tanhf(x) tanhf(x)

#define NLL_MIN_MAX(type)                                   \
  inline type min(type x, type y) { return y < x ? y : x; } \
  inline type max(type x, type y) { return x < y ? y : x; }
NLL_MIN_MAX(int)
NLL_MIN_MAX(unsigned)
NLL_MIN_MAX(long)
NLL_MIN_MAX(unsigned long)
NLL_MIN_MAX(long long)
NLL_MIN_MAX(unsigned long long)
#undef NLL_MIN_MAX
inline float min(float x, float y) { return fminf(x, y); }
inline float max(float x, float y) { return fmaxf(x, y); }
inline double min(double x, double y) { return fmin(x, y); }
inline double max(double x, double y) { return fmax(x, y); }

// ---- memory
template <class T>
T __ldg(const T* from) {
  return *from;
}
template <class T>
T __ldcg(const T* from) {
  return *from;
}
template <class T>
T __ldca(const T* from) {
  return *from;
}
template <class T>
T __ldcs(const T* from) {
  return *from;
}
template <class T>
T __ldlu(const T* from) {
  return *from;
}
template <class T>
void __stcg(T* to, T value) {
  *to = value;
}
template <class T>
void __stcs(T* to, T value) {
  *to = value;
}
template <class T>
void __stwb(T* to, T value) {
  *to = value;
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// Integers only: sums of floats by atomics would have no fixed order.
#define NLL_ATOMICS(type)                                      \
  inline type atomicAdd(type* at, type value) {                \
    const type old = *at;                                      \
    *at = static_cast<type>(old + value);                      \
    return old;                                                \
  }                                                            \
  inline type atomicMax(type* at, type value) {                \
    const type old = *at;                                      \
    *at = std::max(old, value);                                \
    return old;                                                \
  }                                                            \
  inline type atomicMin(type* at, type value) {                \
    const type old = *at;                                      \
    *at = std::min(old, value);                                \
    return old;                                                \
  }                                                            \
  inline type atomicOr(type* at, type value) {                 \
    const type old = *at;                                      \
    *at = old | value;                                         \
    return old;                                                \
  }                                                            \
  inline type atomicAnd(type* at, type value) {                \
    const type old = *at;                                      \
    *at = old & value;                                         \
    return old;                                                \
  }                                                            \
  inline type atomicExch(type* at, type value) {               \
    const type old = *at;                                      \
    *at = value;                                               \
    return old;                                                \
  }                                                            \
  inline type atomicCAS(type* at, type expected, type value) { \
    const type old = *at;                                      \
    if (old == expected) *at = value;                          \
    return old;                                                \
  }
NLL_ATOMICS(int)
NLL_ATOMICS(unsigned)
NLL_ATOMICS(unsigned long long)
#undef NLL_ATOMICS
