// The products of the head, for one chunk of tokens.             n tokens, C width, V rows of wte (padding included)
//   logits = h wte^T;  dh = dlogits wte;  dwte (+)= dlogits^T h                          2 n C V operations each
#include "kernels/cpu/cpu_ops.h"

namespace nll::cpu {
namespace {

// dh sums over the whole vocabulary and has few elements, so that packing its operands costs as much as a tenth of the
// products. Cut along the vocabulary each operand is packed once, by whoever needs it; the slices are added in order.
constexpr int slices = 16;
bool slices_pay(std::int64_t n, std::int64_t vocabulary, int threads) {
  return threads <= slices && n >= 24 && n <= 512 && vocabulary >= 512 * slices;
}

}  // namespace

void CpuOps::head_logits(Tensor logits, Tensor h, Tensor wte) {
  CHECK(wte.rank() == 2);
  const std::int64_t n = h.rows(), vocabulary = wte.dim(0), width = wte.dim(1);
  const float* in = expect_rows(h, "h", n, width);
  float* out = expect_rows(logits, "logits", n, vocabulary);
  const Gemm gemm{Product::nt, n, vocabulary, width, in, width, wte.as<float>(), width, out, vocabulary, 0};
  team_->run([&](int thread) { multiply(thread, gemm, block_of(gemm, thread)); });
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
  const bool sliced = input_gradient != nullptr && slices_pay(n, vocabulary, team_->size());
  float* partials = sliced ? static_cast<float*>(scratch_.shared(slices * n * width * 4)) : nullptr;
  team_->run([&](int thread) {
    if (sliced) {
      const Range own = part_of(slices, 1, thread, team_->size());
      for (auto slice = static_cast<int>(own.begin); slice < own.end; ++slice) {
        const Range columns = part_of(vocabulary, 64, slice, slices);
        Gemm gemm = to_h;
        gemm.k = columns.size();
        gemm.a += columns.begin;
        gemm.b += columns.begin * width;
        multiply(thread, gemm, {{0, n}, {0, width}}, partials + slice * n * width, width);
      }
    } else if (input_gradient != nullptr) {
      multiply(thread, to_h, block_of(to_h, thread));
    }
    if (weight_gradient != nullptr) multiply(thread, to_wte, block_of(to_wte, thread));
  });
  if (!sliced) return;
  team_->for_each_part(n * width, 64, [&](Range part, int) {
    rows_.column_sums(input_gradient + part.begin, partials + part.begin, slices, part.size(), n * width, false);
  });
}

}  // namespace nll::cpu
