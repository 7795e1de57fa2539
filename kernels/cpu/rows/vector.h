// Vectors of floats as wide as the instruction set this file is compiled for. Everything in kernels/cpu/rows/ is
// included by one rows_*.cpp an instruction set and lives in an unnamed namespace: an inline function with a linker's
// name would be merged across instruction sets, and a processor would meet instructions that it does not have. For the
// same reason no standard header that defines functions is included here; the compiler's own functions do.
#pragma once
#include <cstdint>

#include "kernels/cpu/rows.h"

#define NLL_INLINE inline __attribute__((always_inline))
#define NLL_BODY __attribute__((always_inline))  // after a lambda's parameters

namespace nll::cpu {
namespace {

#if defined(__AVX512F__)
constexpr int width = 16;
#elif defined(__AVX2__)
constexpr int width = 8;
#else
constexpr int width = 4;
#endif

typedef float Floats __attribute__((vector_size(width * 4)));
typedef std::int32_t Ints __attribute__((vector_size(width * 4)));
typedef std::uint32_t Words __attribute__((vector_size(width * 4)));
typedef float UnalignedFloats __attribute__((vector_size(width * 4), aligned(4), may_alias));
typedef double Doubles __attribute__((vector_size(width * 4)));  // half as many

NLL_INLINE Floats load(const float* from) { return *reinterpret_cast<const UnalignedFloats*>(from); }
NLL_INLINE void store(float* to, Floats value) { *reinterpret_cast<UnalignedFloats*>(to) = value; }
NLL_INLINE Floats broadcast(float value) { return value - Floats{}; }

// The first `count` < width lanes; the others are `other`.
NLL_INLINE Floats load_part(const float* from, std::int64_t count, float other = 0) {
  Floats value = broadcast(other);
  for (std::int64_t i = 0; i < count; ++i) value[i] = from[i];
  return value;
}
NLL_INLINE void store_part(float* to, Floats value, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = value[i];
}

NLL_INLINE Floats maximum(Floats a, Floats b) { return a > b ? a : b; }

// The two halves of a vector.
typedef float Four __attribute__((vector_size(16)));
#if defined(__AVX2__)
typedef float Eight __attribute__((vector_size(32)));
NLL_INLINE Four low_half(Eight v) { return __builtin_shufflevector(v, v, 0, 1, 2, 3); }
NLL_INLINE Four high_half(Eight v) { return __builtin_shufflevector(v, v, 4, 5, 6, 7); }
#endif
#if defined(__AVX512F__)
NLL_INLINE Eight low_half(Floats v) { return __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7); }
NLL_INLINE Eight high_half(Floats v) { return __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15); }
#endif
// The lanes combined into one, halving the vector until one is left.
template <class Combine>
NLL_INLINE float reduce(Four v, Combine combine) {
  const Four pairs = combine(v, __builtin_shufflevector(v, v, 2, 3, 2, 3));
  return combine(pairs, __builtin_shufflevector(pairs, pairs, 1, 1, 1, 1))[0];
}
#if defined(__AVX2__)
template <class Combine>
NLL_INLINE float reduce(Eight v, Combine combine) {
  return reduce(combine(low_half(v), high_half(v)), combine);
}
#endif
#if defined(__AVX512F__)
template <class Combine>
NLL_INLINE float reduce(Floats v, Combine combine) {
  return reduce(combine(low_half(v), high_half(v)), combine);
}
#endif
NLL_INLINE float sum_lanes(Floats value) {
  return reduce(value, [](auto a, auto b) NLL_BODY { return a + b; });
}
NLL_INLINE float largest_lane(Floats value) {
  return reduce(value, [](auto a, auto b) NLL_BODY { return a > b ? a : b; });
}

// -1 in the first `count` lanes, 0 in the others.
NLL_INLINE Ints first_lanes(std::int64_t count) {
  Ints lane;
  for (int i = 0; i < width; ++i) lane[i] = i;
  return lane < static_cast<std::int32_t>(count);
}

NLL_INLINE std::int64_t round_up(std::int64_t value, std::int64_t unit) { return (value + unit - 1) / unit * unit; }

// Runs body(load, store) over [0, n): whole vectors, then the rest. body is called with two functions,
// get(pointer) and put(pointer, value), that touch only what is there.
struct Whole {
  std::int64_t at;
  NLL_INLINE Floats get(const float* row) const { return load(row + at); }
  NLL_INLINE void put(float* row, Floats value) const { store(row + at, value); }
};
struct Part {
  std::int64_t at, count;
  NLL_INLINE Floats get(const float* row) const { return load_part(row + at, count); }
  NLL_INLINE void put(float* row, Floats value) const { store_part(row + at, value, count); }
};
template <class Body>
NLL_INLINE void for_vectors(std::int64_t n, Body&& body) {
  std::int64_t i = 0;
  for (; i + width <= n; i += width) body(Whole{i});
  if (i < n) body(Part{i, n - i});
}

}  // namespace
}  // namespace nll::cpu
