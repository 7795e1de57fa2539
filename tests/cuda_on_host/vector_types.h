// CUDA's small vector types and keywords, as the kernels use them, for a host compiler.
#pragma once

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __shared__ static  // blocks run one after the other, so one copy serves them all
#define __forceinline__ inline
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...)

#define NLL_VECTOR_TYPES(element, name, bytes)                                         \
  struct name##2 {                                                                     \
    element x, y;                                                                      \
  }                                                                                    \
  __attribute__((aligned(2 * bytes)));                                                 \
  struct name##3 {                                                                     \
    element x, y, z;                                                                   \
  };                                                                                   \
  struct name##4 {                                                                     \
    element x, y, z, w;                                                                \
  }                                                                                    \
  __attribute__((aligned(4 * bytes > 16 ? 16 : 4 * bytes)));                           \
  inline name##2 make_##name##2(element x, element y) { return {x, y}; }               \
  inline name##3 make_##name##3(element x, element y, element z) { return {x, y, z}; } \
  inline name##4 make_##name##4(element x, element y, element z, element w) { return {x, y, z, w}; }

NLL_VECTOR_TYPES(float, float, 4)
NLL_VECTOR_TYPES(double, double, 8)
NLL_VECTOR_TYPES(int, int, 4)
NLL_VECTOR_TYPES(unsigned, uint, 4)
NLL_VECTOR_TYPES(short, short, 2)
NLL_VECTOR_TYPES(unsigned short, ushort, 2)
NLL_VECTOR_TYPES(signed char, char, 1)
NLL_VECTOR_TYPES(unsigned char, uchar, 1)
NLL_VECTOR_TYPES(long long, longlong, 8)
NLL_VECTOR_TYPES(unsigned long long, ulonglong, 8)
#undef NLL_VECTOR_TYPES

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_size = 1, unsigned y_size = 1, unsigned z_size = 1) : x(x_size), y(y_size), z(z_size) {}
  constexpr dim3(uint3 sizes) : x(sizes.x), y(sizes.y), z(sizes.z) {}
};
