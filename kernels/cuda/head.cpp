// The products of the head, for one chunk of tokens.             n tokens, C width, V rows of wte (padding included)
//   logits = h wte^T;  dh = dlogits wte;  dwte (+)= dlogits^T h                          2 n C V operations each
#include "kernels/cuda/cuda_ops.h"

namespace nll::cuda {

void CudaOps::head_logits(Tensor logits, Tensor h, Tensor wte) {
  CHECK(wte.rank() == 2);
  const DType type = h.type();
  const std::int64_t n = h.rows(), vocabulary = wte.dim(0), width = wte.dim(1);
  GemmCall call{Product::nt, n, vocabulary, width, type, logits.type()};
  call.a = expect_rows(h, "h", type, n, width);
  call.b = expect(wte, "wte", type, {vocabulary, width});
  call.c = expect_rows(logits, "logits", logits.type() == type ? type : DType::f32, n, vocabulary);
  gemm_->run(call);
}

void CudaOps::head_backward(Tensor dh, Tensor dwte, Into into, Tensor dlogits, Tensor h, Tensor wte) {
  CHECK(wte.rank() == 2);
  const DType type = h.type();
  const std::int64_t n = h.rows(), vocabulary = wte.dim(0), width = wte.dim(1);
  const void* in = expect_rows(h, "h", type, n, width);
  const void* weight = expect(wte, "wte", type, {vocabulary, width});
  const void* gradient = expect_rows(dlogits, "dlogits", type, n, vocabulary);
  if (!dh.empty()) {
    void* to_h = expect_rows(dh, "dh", type, n, width);
    gemm_->run({Product::nn, n, width, vocabulary, type, type, gradient, weight, to_h});
  }
  if (!dwte.empty()) {
    void* to_wte = expect(dwte, "dwte", DType::f32, {vocabulary, width});
    const float beta = into == Into::add ? 1.0f : 0.0f;
    gemm_->run({Product::tn, vocabulary, width, n, type, DType::f32, gradient, in, to_wte, beta});
  }
}

}  // namespace nll::cuda
