// exp, tanh and GELU of vectors, each to 2e-7 relative.
#pragma once
#include "kernels/cpu/rows/vector.h"

namespace nll::cpu {
namespace {

// 2^n for n in [-126, 127].
NLL_INLINE Floats power_of_two(Ints n) {
  const Words bits = (reinterpret_cast<Words>(n) + 127u) << 23;
  return reinterpret_cast<Floats>(bits);
}

// e^x = 2^n e^r, n = round(x / ln 2), ln 2 in two parts (Cody and Waite, 1980), e^r by a minimax polynomial with error
// 3e-9. Infinity above 88.72, 0 below -103.98, NaN of NaN.
NLL_INLINE Floats exponential(Floats x) {
  x = x > 89.0f ? broadcast(89.0f) : x;
  x = x < -104.0f ? broadcast(-104.0f) : x;
  const Floats rounder = broadcast(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  const Floats shifted = x * 1.44269504f + rounder;
  const Floats n = shifted - rounder;
  Floats r = x - n * 0.693145752f;
  r = r - n * 1.42860677e-6f;
  Floats p = broadcast(0.0013814320554956794f);
  p = p * r + 0.00836885068565607f;
  p = p * r + 0.041668400168418884f;
  p = p * r + 0.1666651964187622f;
  p = p * r + 0.4999999403953552f;
  p = p * (r * r) + r + 1.0f;
  // In two factors, since 2^n alone may be outside the normal numbers.
  const Ints whole = reinterpret_cast<Ints>(reinterpret_cast<Words>(shifted) - reinterpret_cast<Words>(rounder));
  const Ints half = whole >> 1;
  return p * power_of_two(half) * power_of_two(whole - half);
}

// 2^x for x <= 0, where the softmax of attention lives: scores are kept in units of ln 2. Exactly 0 below -126.5, NaN
// of NaN. Half the work of `exponential`: no upper limit, no subnormal results, x - round(x) is exact; error 2e-9
// before rounding.
NLL_INLINE Floats power_of_two_of(Floats x) {
  x = x < -127.0f ? broadcast(-127.0f) : x;
  const Floats rounder = broadcast(12583039.0f);  // 1.5 * 2^23 + 127: the low bits become the exponent field
  const Floats shifted = x + rounder;
  const Floats r = x - (shifted - rounder);
  Floats p = broadcast(0.0001534581242594868f);
  p = p * r + 0.0013399930903688073f;
  p = p * r + 0.009618489071726799f;
  p = p * r + 0.05550328642129898f;
  p = p * r + 0.24022646248340607f;
  p = p * r + 0.6931471824645996f;
  p = p * r + 1.0f;
  return p * reinterpret_cast<Floats>(reinterpret_cast<Words>(shifted) << 23);
}

NLL_INLINE Floats absolute(Floats x) { return reinterpret_cast<Floats>(reinterpret_cast<Words>(x) & 0x7fffffffu); }
NLL_INLINE Floats with_sign_of(Floats magnitude, Floats sign) {
  return reinterpret_cast<Floats>(reinterpret_cast<Words>(magnitude) | (reinterpret_cast<Words>(sign) & 0x80000000u));
}

// Odd polynomial below 0.55, 1 - 2 / (e^2|x| + 1) above.
NLL_INLINE Floats hyperbolic_tangent(Floats x) {
  const Floats magnitude = absolute(x);
  const Floats z = x * x;
  Floats q = broadcast(-0.0062742396257817745f);
  q = q * z + 0.021071678027510643f;
  q = q * z - 0.05385230854153633f;
  q = q * z + 0.13332585990428925f;
  q = q * z - 0.33333316445350647f;
  const Floats small = x * z * q + x;
  const Floats large = 1.0f - 2.0f / (exponential(2.0f * magnitude) + 1.0f);
  return magnitude < 0.55f ? small : with_sign_of(large, x);
}

// 1 - tanh(x)^2 without cancellation: 4 e / (1 + e)^2 with e = e^-2|x|.
NLL_INLINE Floats tanh_derivative(Floats x) {
  const Floats e = exponential(-2.0f * absolute(x));
  const Floats s = 1.0f + e;
  return 4.0f * e / (s * s);
}

// GELU in its tanh form: x/2 (1 + tanh t) = x / (1 + e^-2t), 2t = x (c1 + c3 x^2). Beyond |x| = 10 it is x or 0 to
// single precision, and the clamp keeps x^3 finite.
constexpr float gelu_c1 = 1.5957691216057308f;   // 2 sqrt(2 / pi)
constexpr float gelu_c3 = 0.07135481282847229f;  // 0.044715 of that

NLL_INLINE Floats clamp_for_gelu(Floats x) {
  x = x > 10.0f ? broadcast(10.0f) : x;
  return x < -10.0f ? broadcast(-10.0f) : x;
}
NLL_INLINE Floats gelu(Floats x) {
  const Floats c = clamp_for_gelu(x);
  return x / (1.0f + exponential(-c * (gelu_c1 + gelu_c3 * c * c)));
}
NLL_INLINE Floats gelu_derivative(Floats x) {
  const Floats c = clamp_for_gelu(x);
  const Floats e = exponential(-c * (gelu_c1 + gelu_c3 * c * c));
  const Floats s = 1.0f / (1.0f + e);
  return s + c * (e * s * s) * (gelu_c1 + 3.0f * gelu_c3 * c * c);
}

}  // namespace
}  // namespace nll::cpu
