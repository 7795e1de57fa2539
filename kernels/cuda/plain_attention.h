// Causal attention in FP32 arithmetic, for any type, length and head size up to 256: what FP32 training uses, and what
// remains where the flash kernels do not fit.                                                B, T, H, D as in ops.h
#pragma once
#include <cstdint>

#include "kernels/cuda/attention_call.h"

namespace nll::cuda {

inline constexpr std::int64_t plain_head_size_limit = 256;

void plain_attention_forward(const AttentionCall& call);
// Takes B * H * T floats of scratch.
void plain_attention_backward(const AttentionCall& call);

// Queries against keys that lie somewhere else: query i of each sequence is at position first_position + i and sees the
// keys at positions up to that. Strides in elements: `row` from a position to the next, `sequence` from a sequence to
// the next; the heads lie side by side.
struct AttentionRows {
  DType type = DType::f32;
  std::int64_t batch = 0, heads = 0, head_size = 0, queries = 0, first_position = 0;
  const void *q = nullptr, *k = nullptr, *v = nullptr;
  std::int64_t q_row = 0, q_sequence = 0, kv_row = 0, kv_sequence = 0;
  void* y = nullptr;     // (batch, queries, heads * head_size)
  float* lse = nullptr;  // (batch, heads, queries), natural logarithm; null: not wanted
  cudaStream_t stream = nullptr;
};
void plain_attention_rows(const AttentionRows& rows);

}  // namespace nll::cuda
