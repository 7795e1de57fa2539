// OperationGraph: a computation as cuDNN is told of it: tensors, and operations between them, which the library then
// looks for a fused kernel for. Destinations come first.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "kernels/cuda/cudnn/descriptor.h"

namespace nll::cuda {

class OperationGraph {
 public:
  using Id = std::int64_t;  // of a tensor; what memory is bound to when the graph runs
  static constexpr Id none = -1;
  using Dims = std::array<std::int64_t, 4>;
  struct Shape {
    Dims dims, strides;  // strides in elements
    static Shape dense(const Dims& dims);
    Shape transposed() const;  // of the last two dimensions
  };

  explicit OperationGraph(const CudnnLibrary& library) : library_(library) {}

  // Memory that is bound when the graph runs, aligned to 16 bytes. Ids below 100, each once.
  Id memory(Id id, cudnnDataType_t type, const Shape& shape);
  // One FP32 number of the host, read when the graph runs. The same ids.
  Id number(Id id);
  // What one operation hands to another; never in memory.
  Id between(cudnnDataType_t type, const Shape& shape);

  void matmul(Id to, Id a, Id b);
  // Over the dimensions that are 1 in `to`, in a fixed order.
  void reduce(Id to, cudnnReduceTensorOp_t operation, Id from);
  // The same elements under the dimensions of `to`.
  void reshape(Id to, Id from);
  // to = mode(x, b); with t: where t holds x, else b. `math`: the type it is computed in.
  void pointwise(Id to, cudnnPointwiseMode_t mode, Id x, Id b = none, Id t = none,
                 cudnnDataType_t math = CUDNN_DATA_FLOAT);
  // to = each element's index along a dimension.
  void index(Id to, Id like, std::int64_t axis);

  // The tensors that are bound when it runs: memory and numbers, in the order of their making.
  const std::vector<Id>& bound() const { return bound_; }
  // Ends it. `handle` null: a graph for a device that is named when an engine is looked for.
  Descriptor finish(cudnnHandle_t handle);

 private:
  struct Node {
    Id id;
    Descriptor tensor;
  };
  Id add(Id id, cudnnDataType_t type, const Shape& shape, bool in_memory, bool by_value);
  const Descriptor& tensor(Id id) const;

  const CudnnLibrary& library_;
  std::vector<Node> tensors_;
  std::vector<Descriptor> operations_;
  std::vector<Id> bound_;
  Id next_between_ = 100;
};

}  // namespace nll::cuda
