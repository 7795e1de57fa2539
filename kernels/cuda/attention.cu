// The op's door for causal attention: which of the ways computes a call.
//   cuDNN  what it takes, where the run asked for it      flash  BF16 and FP16, heads of 64 and 128
//   plain  whatever else, up to heads of 256
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/cudnn_attention.h"
#include "kernels/cuda/flash_attention.cuh"
#include "kernels/cuda/plain_attention.h"

namespace nll::cuda {
namespace {

// qkv and its heads, checked; the caller adds the rest.
AttentionCall attention_call(const Tensor& qkv, std::int64_t heads, const Stream& stream, Scratch& scratch) {
  CHECK(qkv.rank() == 3);
  CHECK(qkv.dim(2) % 3 == 0);
  CHECK(heads >= 1);
  CHECK(qkv.dim(2) / 3 % heads == 0);
  AttentionCall call;
  call.type = qkv.type();
  call.batch = qkv.dim(0), call.time = qkv.dim(1), call.heads = heads;
  call.head_size = qkv.dim(2) / 3 / heads;
  call.qkv = qkv.data();
  call.stream = stream.get();
  call.scratch = &scratch;
  return call;
}

// The result of the forward: y (B,T,C) and lse (B,H,T).
void take_result(AttentionCall& call, const Tensor& y, const Tensor& lse) {
  call.y = expect_rows(y, "y", call.type, call.batch * call.time, call.width());
  call.lse = static_cast<float*>(expect_size(lse, "lse", DType::f32, call.batch * call.heads * call.time));
}

}  // namespace

void CudaOps::attention(Tensor y, Tensor lse, Tensor qkv, std::int64_t heads) {
  AttentionCall call = attention_call(qkv, heads, *stream_, scratch_);
  take_result(call, y, lse);
  if (cudnn_ && cudnn_->takes(call.type, call.head_size, call.time)) return cudnn_->forward(call);
  if (flash_attention_fits(call)) return flash_attention_forward(call);
  plain_attention_forward(call);
}

void CudaOps::attention_backward(Tensor dqkv, Tensor dy, Tensor y, Tensor lse, Tensor qkv, std::int64_t heads) {
  AttentionCall call = attention_call(qkv, heads, *stream_, scratch_);
  take_result(call, y, lse);
  call.dy = expect_rows(dy, "dy", call.type, call.batch * call.time, call.width());
  call.dqkv = expect_rows(dqkv, "dqkv", call.type, call.batch * call.time, 3 * call.width());
  CHECK(call.dqkv != call.qkv);  // it is read again after parts of its gradient are written
  if (cudnn_ && cudnn_->takes(call.type, call.head_size, call.time)) return cudnn_->backward(call);
  if (flash_attention_fits(call)) return flash_attention_backward(call);
  plain_attention_backward(call);
}

}  // namespace nll::cuda
