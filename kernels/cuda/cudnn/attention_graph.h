// Causal attention, forward and backward, as graphs for cuDNN. Its unified nodes (CUDNN_BACKEND_OPERATION_SDPA_*) have
// no causal mask before cuDNN 9.21, so the graphs are spelled out: the matrix products, the softmax between them, and
// what the library knows as the flash-attention pattern when it is written in this order.
//   B batch, T time, H heads, D head size, C = H D.   Sums and everything between are FP32; P and dS are rounded to the
//   type of q before they are multiplied, as in our own kernels.
#pragma once
#include <compare>
#include <cstdint>

#include "kernels/cuda/cudnn/operation_graph.h"

namespace nll::cuda {

struct AttentionShape {
  std::int64_t batch = 0, time = 0, heads = 0, head_size = 0;
  cudnnDataType_t type = CUDNN_DATA_BFLOAT16;  // of q, k, v, y and their gradients
  auto operator<=>(const AttentionShape&) const = default;
};

// What is bound when a graph runs. q, k, v and their gradients lie side by side in rows of 3C, at 0, C and 2C.
namespace attention_tensor {
inline constexpr OperationGraph::Id q = 1, k = 2, v = 3, y = 4;  // y (B,T,C)
inline constexpr OperationGraph::Id lse = 5;                     // (B,H,T) FP32, natural logarithm
inline constexpr OperationGraph::Id dq = 6, dk = 7, dv = 8, dy = 9;
inline constexpr OperationGraph::Id scale = 10;   // number: 1 / sqrt(D)
inline constexpr OperationGraph::Id masked = 11;  // number: -infinity, the score of keys behind the query
inline constexpr OperationGraph::Id one = 12;     // number: 1
// Working memory of the backward, FP32: (B,H,T) sums of y dy, and (B,H,T,D) the dq that blocks add to in whatever order
// they finish (not in a deterministic graph).
inline constexpr OperationGraph::Id y_dy = 13, dq_sum = 14;
}  // namespace attention_tensor

// y, lse of q, k, v.                                                        Binds q k v y lse, scale masked
OperationGraph attention_forward_graph(const CudnnLibrary& library, const AttentionShape& shape);
// dq, dk, dv of dy, y, lse, q, k, v.        Binds all but dq_sum, and that too where the graph is not deterministic.
// Deterministic: dq is written by its matrix product, not added to by blocks; the library then keeps dS (B,H,T,T).
OperationGraph attention_backward_graph(const CudnnLibrary& library, const AttentionShape& shape, bool deterministic);

}  // namespace nll::cuda
