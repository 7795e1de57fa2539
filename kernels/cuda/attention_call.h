// AttentionCall: one call of causal attention, forward or backward, after the op's door: what the ways of computing it
// (flash, plain, cuDNN) are given.     B batch, T time, H heads, D head size, C = H * D; layouts as in kernels/ops.h
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/scratch.h"
#include "kernels/tensor.h"

namespace nll::cuda {

struct AttentionCall {
  DType type = DType::f32;  // of qkv, y, dy and dqkv
  std::int64_t batch = 0, time = 0, heads = 0, head_size = 0;
  const void* qkv = nullptr;  // (B,T,3C)
  void* y = nullptr;          // (B,T,C): written by the forward, read by the backward
  float* lse = nullptr;       // (B,H,T), natural logarithm: the same
  const void* dy = nullptr;   // (B,T,C), backward only
  void* dqkv = nullptr;       // (B,T,3C), backward only; not qkv
  cudaStream_t stream = nullptr;
  Scratch* scratch = nullptr;  // one get() a call

  std::int64_t width() const { return heads * head_size; }
};

}  // namespace nll::cuda
