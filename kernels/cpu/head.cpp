// The products of the head, for one chunk of tokens.             n tokens, C width, V rows of wte (padding included)
//   logits = h wte^T;  dh = dlogits wte;  dwte (+)= dlogits^T h                          2 n C V operations each
#include "kernels/cpu/cpu_ops.h"

namespace nll::cpu {

void CpuOps::head_logits(Tensor logits, Tensor h, Tensor wte) {
  CHECK(wte.rank() == 2);
  const std::int64_t n = h.rows(), vocabulary = wte.dim(0), width = wte.dim(1);
  const float* in = expect_rows(h, "h", n, width);
  float* out = expect_rows(logits, "logits", n, vocabulary);
  const Gemm gemm{Product::nt, n, vocabulary, width, in, width, wte.as<float>(), width, out, vocabulary, 0};
  team_->run([&](int thread) { multiply_block(gemm, block_of(gemm, thread, team_->size())); });
}

void CpuOps::head_backward(Tensor dh, Tensor dwte, Into into, Tensor dlogits, Tensor h, Tensor wte) {
  CHECK(wte.rank() == 2);
  const std::int64_t n = h.rows(), vocabulary = wte.dim(0), width = wte.dim(1);
  const float* in = expect_rows(h, "h", n, width);
  const float* gradient = expect_rows(dlogits, "dlogits", n, vocabulary);
  float* input_gradient = dh.empty() ? nullptr : expect_rows(dh, "dh", n, width);
  float* weight_gradient = dwte.empty() ? nullptr : expect(dwte, "dwte", {vocabulary, width});
  const Gemm to_h{Product::nn,     n,     width,          vocabulary, gradient, vocabulary,
                  wte.as<float>(), width, input_gradient, width,      0};
  const Gemm to_wte{Product::tn,
                    vocabulary,
                    width,
                    n,
                    gradient,
                    vocabulary,
                    in,
                    width,
                    weight_gradient,
                    width,
                    into == Into::add ? 1.0f : 0.0f};
  team_->run([&](int thread) {
    if (input_gradient != nullptr) multiply_block(to_h, block_of(to_h, thread, team_->size()));
    if (weight_gradient != nullptr) multiply_block(to_wte, block_of(to_wte, thread, team_->size()));
  });
}

}  // namespace nll::cpu
