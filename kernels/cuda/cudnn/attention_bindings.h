// What the tensors of attention's graphs are bound to in one call.
#pragma once
#include <vector>

#include "kernels/cuda/attention_call.h"
#include "kernels/cuda/cudnn/attention_graph.h"
#include "kernels/cuda/cudnn/plan.h"

namespace nll::cuda {

// The graphs' numbers. They are read when a graph is queued, and must be there until then.
struct AttentionNumbers {
  explicit AttentionNumbers(std::int64_t head_size);
  float scale, masked, one;
};

std::vector<Binding> forward_bindings(const AttentionCall& call, const AttentionNumbers& numbers);
// y_dy, dq_sum: working memory; dq_sum null for the deterministic graph, which has none.
std::vector<Binding> backward_bindings(const AttentionCall& call, const AttentionNumbers& numbers, const void* y_dy,
                                       const void* dq_sum);

}  // namespace nll::cuda
