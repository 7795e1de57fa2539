#include "kernels/cuda/cudnn/attention_bindings.h"

#include <cmath>
#include <limits>

namespace nll::cuda {
namespace {

namespace tensor = attention_tensor;

// q, k and v, or their gradients, which lie side by side in rows of 3C.
void bind_packed(std::vector<Binding>& bindings, const void* packed, const AttentionCall& call, OperationGraph::Id q,
                 OperationGraph::Id k, OperationGraph::Id v) {
  const auto* bytes = static_cast<const unsigned char*>(packed);
  const std::int64_t part = call.width() * bytes_of(call.type);
  bindings.push_back({q, bytes});
  bindings.push_back({k, bytes + part});
  bindings.push_back({v, bytes + 2 * part});
}

}  // namespace

AttentionNumbers::AttentionNumbers(std::int64_t head_size)
    : scale(static_cast<float>(1 / std::sqrt(static_cast<double>(head_size)))),
      masked(-std::numeric_limits<float>::infinity()),
      one(1) {}

std::vector<Binding> forward_bindings(const AttentionCall& call, const AttentionNumbers& numbers) {
  std::vector<Binding> bindings = {
      {tensor::y, call.y}, {tensor::lse, call.lse}, {tensor::scale, &numbers.scale}, {tensor::masked, &numbers.masked}};
  bind_packed(bindings, call.qkv, call, tensor::q, tensor::k, tensor::v);
  return bindings;
}

std::vector<Binding> backward_bindings(const AttentionCall& call, const AttentionNumbers& numbers, const void* y_dy,
                                       const void* dq_sum) {
  std::vector<Binding> bindings = forward_bindings(call, numbers);
  bindings.push_back({tensor::dy, call.dy});
  bindings.push_back({tensor::one, &numbers.one});
  bindings.push_back({tensor::y_dy, y_dy});
  if (dq_sum != nullptr) bindings.push_back({tensor::dq_sum, dq_sum});
  bind_packed(bindings, call.dqkv, call, tensor::dq, tensor::dk, tensor::dv);
  return bindings;
}

}  // namespace nll::cuda
