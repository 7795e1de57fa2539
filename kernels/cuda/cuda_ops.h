// CudaOps: struct Ops on one GPU. One file a family, under the names of kernels/ops.h and kernels/cpu. Ops queue their
// work on one stream and return; every sum has an order that depends on shapes (and, for matrix products, on the chosen
// algorithm) only.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>

#include "kernels/cuda/gemm.h"
#include "kernels/cuda/scratch.h"
#include "kernels/cuda/stream.h"
#include "kernels/ops.h"

namespace nll::cuda {

class CudnnAttention;  // cudnn_attention.h

class CudaOps : public Ops {
 public:
  // `cudnn`: null where attention is always our own.
  CudaOps(std::shared_ptr<Stream> stream, std::unique_ptr<Gemm> gemm, std::unique_ptr<CudnnAttention> cudnn);
  ~CudaOps() override;

  void embedding(Tensor x, Tensor tokens, Tensor wte, Tensor wpe, std::int64_t position,
                 const Dropout& dropout) override;
  void embedding_backward(Tensor dwte, Tensor dwpe, Into wpe_into, Tensor dx, Tensor tokens,
                          const Dropout& dropout) override;

  void linear(Tensor y, Tensor x, Tensor w, Tensor bias) override;
  void linear_gelu(Tensor y, Tensor pre, Tensor x, Tensor w, Tensor bias) override;
  void gelu(Tensor y, Tensor pre) override;
  void linear_backward(Tensor dx, Tensor dw, Tensor dbias, Into into, Tensor dy, Tensor x, Tensor w) override;
  void linear_backward_gelu(Tensor dpre, Tensor dw, Tensor dbias, Into into, Tensor dy, Tensor x, Tensor w,
                            Tensor pre) override;

  void layernorm(Tensor y, Tensor mean, Tensor rstd, Tensor x, Tensor weight, Tensor bias) override;
  void residual_layernorm(Tensor residual, Tensor y, Tensor mean, Tensor rstd, Tensor x, Tensor branch, Tensor weight,
                          Tensor bias, const Dropout& dropout) override;
  void layernorm_backward(Tensor dx, Into dx_into, Tensor dbranch, const Dropout& branch_dropout, Tensor dweight,
                          Tensor dbias, Into into, Tensor dy, Tensor x, Tensor weight, Tensor mean,
                          Tensor rstd) override;

  void attention(Tensor y, Tensor lse, Tensor qkv, std::int64_t heads) override;
  void attention_backward(Tensor dqkv, Tensor dy, Tensor y, Tensor lse, Tensor qkv, std::int64_t heads) override;
  void attention_cached(Tensor y, Tensor k_cache, Tensor v_cache, Tensor qkv, std::int64_t position,
                        std::int64_t heads) override;

  void head_logits(Tensor logits, Tensor h, Tensor wte) override;
  void cross_entropy(const TokenStatistics& statistics, Tensor logits, Tensor targets, const HeadShape& shape) override;
  void cross_entropy_backward(const TokenStatistics& statistics, Tensor dlogits, Tensor logits, Tensor targets,
                              Tensor coefficients, Tensor loss_scale, const HeadShape& shape) override;
  void head_backward(Tensor dh, Tensor dwte, Into into, Tensor dlogits, Tensor h, Tensor wte) override;

  void gather_rows(Tensor out, Tensor in, Tensor rows) override;
  void scatter_rows(Tensor out, Into into, Tensor in, Tensor rows) override;

  void scalar_head(Tensor values, Tensor h, Tensor weight) override;
  void scalar_head_backward(Tensor dh, Into dh_into, Tensor dweight, Into into, Tensor dvalues, Tensor h, Tensor weight,
                            Tensor loss_scale) override;

  void convert(Tensor to, Tensor from) override;
  void find_nonfinite(Tensor guard, Into into, Tensor values) override;
  void add(Tensor to, Tensor from) override;
  void sum_parts(Tensor sum, Tensor parts, SumOrder order) override;
  void square_sums(Tensor sums, Tensor values) override;
  void norm(Tensor norm, Tensor sums) override;
  void begin_update(Tensor state, Tensor norm, Tensor guard, const AdamW& settings) override;
  void adamw(Tensor w, Tensor rounded, Tensor m, Tensor v, Tensor gradients, float weight_decay, std::int64_t first,
             Tensor state, const AdamW& settings) override;
  void end_update(Tensor state, const AdamW& settings) override;

 private:
  std::shared_ptr<Stream> stream_;
  Scratch scratch_;
  std::unique_ptr<Gemm> gemm_;
  std::unique_ptr<CudnnAttention> cudnn_;
};

// The op's door: CHECKs that a tensor has these dimensions, and that type; both sides are printed. Returns its data.
void* expect(const Tensor& tensor, const char* name, DType type, std::initializer_list<std::int64_t> dims);
// The same for a matrix or higher: all dims but the last together are `rows`.
void* expect_rows(const Tensor& tensor, const char* name, DType type, std::int64_t rows, std::int64_t last);
// A vector of n elements, in whatever dimensions.
void* expect_size(const Tensor& tensor, const char* name, DType type, std::int64_t size);

}  // namespace nll::cuda
