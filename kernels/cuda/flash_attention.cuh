// Causal flash attention for BF16 and FP16 with heads of 64 or 128, by mma.sync: the softmax is computed as the keys
// stream by (Milakov and Gimelshein, 2018; Dao, 2023), so that no score leaves the chip. Needs compute capability 8.0.
//   S = Q K^T / sqrt(D),  P = e^(S - lse),  Y = P V,  lse_i = log sum_j e^S_ij            (keys up to the query)
//   D_i = dY_i . Y_i,  dS = P (dY V^T - D),  dQ = dS K / sqrt(D),  dK = dS^T Q / sqrt(D),  dV = P^T dY
#pragma once
#include "kernels/cuda/attention_call.h"

namespace nll::cuda {

// Whether the call has a type, a head size and alignments (16 bytes) that the kernels take.
bool flash_attention_fits(const AttentionCall& call);
// Writes call.y and call.lse.
void flash_attention_forward(const AttentionCall& call);
// Writes call.dqkv.
void flash_attention_backward(const AttentionCall& call);

}  // namespace nll::cuda
