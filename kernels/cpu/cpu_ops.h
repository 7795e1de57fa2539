// CpuOps: struct Ops on a thread team. One file a family, under the names of kernels/ops.h. An op returns when its work
// is done. Work is cut statically, and every sum has an order that depends on shapes only.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/team.h"
#include "kernels/ops.h"

namespace nll::cpu {

class CpuOps : public Ops {
 public:
  CpuOps(std::shared_ptr<ThreadTeam> team, const RowKernels& rows)
      : team_(std::move(team)), rows_(rows), scratch_(team_->size()), packing_(team_->size()) {}

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
  // dlogits and coefficients: both or neither.
  void cross_entropy_rows(const TokenStatistics& statistics, float* dlogits, Tensor logits, Tensor targets,
                          const float* coefficients, float loss_scale, const HeadShape& shape);
  // The block of `gemm` that belongs to `thread`, and a block's product on that thread, to wherever `c` leads or to its
  // place in gemm.c; bias (gemm.n) or null is added.
  Block block_of(const Gemm& gemm, int thread) const;
  void multiply(int thread, const Gemm& gemm, const Block& block, float* c, std::int64_t c_stride,
                const float* bias = nullptr);
  void multiply(int thread, const Gemm& gemm, const Block& block, const float* bias = nullptr);
  // dw (+)= x^T dy and dbias (+)= column sums of dy: the part of `thread`.
  void weight_gradient_part(int thread, float* dw, float* dbias, Into into, const float* dy, const float* x,
                            std::int64_t n, std::int64_t inputs, std::int64_t outputs);

  std::shared_ptr<ThreadTeam> team_;
  const RowKernels& rows_;
  Scratch scratch_;
  Scratch packing_;  // of multiply(), whose caller may hold a piece of scratch_
};

// With the offset added that lies in memory now.
inline Dropout at_this_step(Dropout dropout) {
  if (dropout.offset.empty()) return dropout;
  CHECK(dropout.offset.bytes() == static_cast<std::int64_t>(sizeof(DropoutOffset)));
  const auto* offset = static_cast<const DropoutOffset*>(dropout.offset.data());
  dropout.stream += offset->stream;
  dropout.first_row += offset->first_row;
  return dropout;
}

// The op's door: the elements of a tensor whose dimensions are as the op expects; else both are printed.
inline float* expect(const Tensor& tensor, const char* name, std::initializer_list<std::int64_t> dims) {
  const Tensor expected(nullptr, DType::f32, dims);
  bool same = tensor.rank() == expected.rank();
  for (int i = 0; same && i < expected.rank(); ++i) same = tensor.dim(i) == expected.dim(i);
  if (!same) {
    const std::string found = std::string(name) + " " + tensor.shape_text();
    const std::string wanted = std::string(name) + " " + expected.shape_text();
    CHECK(found == wanted);
  }
  return tensor.as<float>();
}
// The same for a matrix or higher: all dims but the last together are `rows`.
inline float* expect_rows(const Tensor& tensor, const char* name, std::int64_t rows, std::int64_t last) {
  if (rows == tensor.rows() && tensor.rank() >= 1 && tensor.last() == last) return tensor.as<float>();
  return expect(tensor, name, {rows, last});
}
// A vector of n elements, in whatever dimensions.
inline float* expect_size(const Tensor& tensor, const char* name, std::int64_t size) {
  if (tensor.size() == size) return tensor.as<float>();
  return expect(tensor, name, {size});
}

}  // namespace nll::cpu
