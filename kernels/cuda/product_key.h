// ProductKey: all that the choice of an algorithm for a matrix product depends on.
#pragma once
#include <compare>
#include <cstdint>
#include <string>

#include "kernels/cuda/gemm.h"

namespace nll::cuda {

struct ProductKey {
  Product product = Product::nn;
  std::int64_t m = 0, n = 0, k = 0;
  DType in = DType::f32, out = DType::f32;
  Epilogue epilogue = Epilogue::none;
  bool add = false;  // beta is 1
  bool tf32 = false, deterministic = true;
  // Of the addresses, in bytes: 256, 16, or what is below that; c together with the auxiliary matrix. 0: there is none.
  int align_a = 256, align_b = 256, align_c = 256, align_bias = 0;

  auto operator<=>(const ProductKey&) const = default;
  // "nt 32768x768x3072 bf16 f32 gelu_backward add align 256 256 256 0", with tf32 and in_any_order where they apply.
  std::string text() const;
};

ProductKey key_of(const GemmCall& call, bool tf32, bool deterministic);

}  // namespace nll::cuda
