// Packing of matrix operands into panels: for each k of a stretch of `depth`, the elements that a micro-kernel needs at
// that k lie side by side, `step` floats from one k to the next. An operand is stored with k along its rows (copied) or
// along its columns (transposed, `width` by `width`). Lanes beyond `count` may hold anything: nothing of them is kept.
#pragma once
#if defined(__AVX2__)
#include <immintrin.h>

#include "kernels/cpu/rows/vector.h"

namespace nll::cpu {
namespace {

// The first `count` lanes of a vector (0 to `width`); the others are not touched in memory and read as 0.
#if defined(__AVX512F__)
typedef __mmask16 Lanes;
NLL_INLINE Lanes lanes(std::int64_t count) { return static_cast<Lanes>((1u << count) - 1u); }
NLL_INLINE Floats load_lanes(const float* from, Lanes mask) { return Floats(_mm512_maskz_loadu_ps(mask, from)); }
NLL_INLINE void store_lanes(float* to, Floats value, Lanes mask) { _mm512_mask_storeu_ps(to, mask, __m512(value)); }
#else
typedef __m256i Lanes;
NLL_INLINE Lanes lanes(std::int64_t count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
NLL_INLINE Floats load_lanes(const float* from, Lanes mask) { return Floats(_mm256_maskload_ps(from, mask)); }
NLL_INLINE void store_lanes(float* to, Floats value, Lanes mask) { _mm256_maskstore_ps(to, mask, __m256(value)); }
#endif

// Four floats of rows r, r + 4, ... side by side: what a transposition begins with.
typedef float UnalignedFour __attribute__((vector_size(16), aligned(4), may_alias));
NLL_INLINE Eight two_fours(const float* low, const float* high) {
  const Four a = *reinterpret_cast<const UnalignedFour*>(low), b = *reinterpret_cast<const UnalignedFour*>(high);
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
}
NLL_INLINE Floats gather_fours(const float* const* row, int r, std::int64_t k) {
#if defined(__AVX512F__)
  const Eight a = two_fours(row[r] + k, row[r + 4] + k), b = two_fours(row[r + 8] + k, row[r + 12] + k);
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#else
  return two_fours(row[r] + k, row[r + 4] + k);
#endif
}

// In each four of the lanes, of a0 a1 a2 a3 and b0 b1 b2 b3:
#if defined(__AVX512F__)
#define NLL_FOURS(p, q, r, s)                                                                                       \
  __builtin_shufflevector(a, b, p, q, r, s, p + 4, q + 4, r + 4, s + 4, p + 8, q + 8, r + 8, s + 8, p + 12, q + 12, \
                          r + 12, s + 12)
NLL_INLINE Floats low_singles(Floats a, Floats b) { return NLL_FOURS(0, 16, 1, 17); }   // a0 b0 a1 b1
NLL_INLINE Floats high_singles(Floats a, Floats b) { return NLL_FOURS(2, 18, 3, 19); }  // a2 b2 a3 b3
NLL_INLINE Floats low_pairs(Floats a, Floats b) { return NLL_FOURS(0, 1, 16, 17); }     // a0 a1 b0 b1
NLL_INLINE Floats high_pairs(Floats a, Floats b) { return NLL_FOURS(2, 3, 18, 19); }    // a2 a3 b2 b3
#else
#define NLL_FOURS(p, q, r, s) __builtin_shufflevector(a, b, p, q, r, s, p + 4, q + 4, r + 4, s + 4)
NLL_INLINE Floats low_singles(Floats a, Floats b) { return NLL_FOURS(0, 8, 1, 9); }
NLL_INLINE Floats high_singles(Floats a, Floats b) { return NLL_FOURS(2, 10, 3, 11); }
NLL_INLINE Floats low_pairs(Floats a, Floats b) { return NLL_FOURS(0, 1, 8, 9); }
NLL_INLINE Floats high_pairs(Floats a, Floats b) { return NLL_FOURS(2, 3, 10, 11); }
#endif
#undef NLL_FOURS

// to[k * step + i] = from[i * stride + k], i < count <= width. Writes `width` lanes a k, in the order of k, so that
// with step < width the lanes too many are overwritten; behind the last k they stay.
NLL_INLINE void pack_transposed(float* to, std::int64_t step, const float* from, std::int64_t stride,
                                std::int64_t count, std::int64_t depth) {
  const float* row[width];
  for (int i = 0; i < width; ++i) row[i] = i < count ? from + i * stride : from;  // a stand-in that may be read
  std::int64_t k = 0;
  for (; k + 4 <= depth; k += 4) {
    const Floats x0 = gather_fours(row, 0, k), x1 = gather_fours(row, 1, k);
    const Floats x2 = gather_fours(row, 2, k), x3 = gather_fours(row, 3, k);
    const Floats low01 = low_singles(x0, x1), high01 = high_singles(x0, x1);
    const Floats low23 = low_singles(x2, x3), high23 = high_singles(x2, x3);
    store(to + k * step, low_pairs(low01, low23));
    store(to + (k + 1) * step, high_pairs(low01, low23));
    store(to + (k + 2) * step, low_pairs(high01, high23));
    store(to + (k + 3) * step, high_pairs(high01, high23));
  }
  for (; k < depth; ++k) {
    for (int i = 0; i < width; ++i) to[k * step + i] = row[i][k];
  }
}

// to[k * step + i] = from[k * stride + i], i < count <= width; writes as pack_transposed does.
NLL_INLINE void pack_copied(float* to, std::int64_t step, const float* from, std::int64_t stride, std::int64_t count,
                            std::int64_t depth) {
  const Lanes mask = lanes(count);
  for (std::int64_t k = 0; k < depth; ++k) store(to + k * step, load_lanes(from + k * stride, mask));
}

}  // namespace
}  // namespace nll::cpu
#endif
