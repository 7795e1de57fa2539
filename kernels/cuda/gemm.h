// Gemm: matrix products by cuBLASLt, with what can be done to the result on the way out. Which of the library's
// algorithms is used is measured on first use for each kind of product and kept.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "kernels/cuda/stream.h"
#include "kernels/device.h"
#include "kernels/tensor.h"

namespace nll::cuda {

enum class Product { nn, nt, tn };  // c = a b, a b^T, a^T b

enum class Epilogue {
  none,
  bias,           // c += bias (n), in c's type
  gelu_bias,      // auxiliary = ab + bias, c = gelu(auxiliary)
  gelu_backward,  // c = ab * gelu'(auxiliary)
  bias_gradient,  // Product::tn only: bias (n) = column sums of b, FP32, written whether or not c is added to
};

// c (m,n) = beta c + a b, row-major and dense. a and b share a type; c has theirs or FP32.
struct GemmCall {
  Product product = Product::nn;
  std::int64_t m = 0, n = 0, k = 0;
  DType in = DType::f32, out = DType::f32;
  const void* a = nullptr;
  const void* b = nullptr;
  void* c = nullptr;  // overlaps no other operand
  float beta = 0;     // 0 or 1; with 0, c is not read
  Epilogue epilogue = Epilogue::none;
  void* bias = nullptr;       // read by bias and gelu_bias, written by bias_gradient
  void* auxiliary = nullptr;  // (m,n) in the type of c
};

class Gemm {
 public:
  // Reads options.product_cache where there is such a file; one that is no cache is an Error(bad_data) that names it.
  Gemm(std::shared_ptr<Stream> stream, const BackendOptions& options);
  ~Gemm();
  // Queues the product. False: the library has no algorithm with this epilogue here (then nothing was queued, and the
  // answer is remembered): the caller does the epilogue by itself. Without an epilogue there is always one: where the
  // library has none, our own (product.h). Sums over no element (k = 0) are 0.
  bool run(const GemmCall& call);
  // Products whose algorithms were timed so far: those that no earlier call and no file knew.
  std::int64_t timed() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nll::cuda
