#include "kernels/cuda/cudnn/operation_graph.h"

#include <utility>

namespace nll::cuda {

OperationGraph::Shape OperationGraph::Shape::dense(const Dims& dims) {
  return {dims, {dims[1] * dims[2] * dims[3], dims[2] * dims[3], dims[3], 1}};
}

OperationGraph::Shape OperationGraph::Shape::transposed() const {
  Shape shape = *this;
  std::swap(shape.dims[2], shape.dims[3]);
  std::swap(shape.strides[2], shape.strides[3]);
  return shape;
}

OperationGraph::Id OperationGraph::add(Id id, cudnnDataType_t type, const Shape& shape, bool in_memory, bool by_value) {
  for (const Node& node : tensors_) CHECK(node.id != id);
  Descriptor tensor(library_, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  tensor.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id);
  tensor.set(CUDNN_ATTR_TENSOR_DATA_TYPE, type);
  tensor.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, std::int64_t{16});
  tensor.set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, shape.dims.data());
  tensor.set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, shape.strides.data());
  tensor.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, !in_memory);
  tensor.set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, by_value);
  tensor.finish();
  tensors_.push_back({id, std::move(tensor)});
  if (in_memory) bound_.push_back(id);
  return id;
}

OperationGraph::Id OperationGraph::memory(Id id, cudnnDataType_t type, const Shape& shape) {
  return add(id, type, shape, true, false);
}

OperationGraph::Id OperationGraph::number(Id id) {
  return add(id, CUDNN_DATA_FLOAT, Shape::dense({1, 1, 1, 1}), true, true);
}

OperationGraph::Id OperationGraph::between(cudnnDataType_t type, const Shape& shape) {
  return add(next_between_++, type, shape, false, false);
}

const Descriptor& OperationGraph::tensor(Id id) const {
  for (const Node& node : tensors_) {
    if (node.id == id) return node.tensor;
  }
  CHECK(id == none);  // a tensor that nobody described
  throw std::logic_error("an operation lacks a tensor");
}

void OperationGraph::matmul(Id to, Id a, Id b) {
  Descriptor product(library_, CUDNN_BACKEND_MATMUL_DESCRIPTOR);
  product.set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_DATA_FLOAT);
  product.finish();
  Descriptor operation(library_, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, tensor(a));
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, tensor(b));
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, tensor(to));
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_DESC, product);
  operation.finish();
  operations_.push_back(std::move(operation));
}

void OperationGraph::reduce(Id to, cudnnReduceTensorOp_t kind, Id from) {
  Descriptor reduction(library_, CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
  reduction.set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_DATA_FLOAT);
  reduction.set(CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1, &kind);
  reduction.set(CUDNN_ATTR_REDUCTION_IS_DETERMINISTIC, true);
  reduction.finish();
  Descriptor operation(library_, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, tensor(from));
  operation.set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, tensor(to));
  operation.set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, reduction);
  operation.finish();
  operations_.push_back(std::move(operation));
}

void OperationGraph::reshape(Id to, Id from) {
  Descriptor operation(library_, CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_RESHAPE_XDESC, tensor(from));
  operation.set(CUDNN_ATTR_OPERATION_RESHAPE_YDESC, tensor(to));
  operation.finish();
  operations_.push_back(std::move(operation));
}

void OperationGraph::pointwise(Id to, cudnnPointwiseMode_t mode, Id x, Id b, Id t, cudnnDataType_t math) {
  Descriptor function(library_, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  function.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
  function.set(CUDNN_ATTR_POINTWISE_MATH_PREC, math);
  function.finish();
  Descriptor operation(library_, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, function);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, tensor(x));
  if (b != none) operation.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, tensor(b));
  if (t != none) operation.set(CUDNN_ATTR_OPERATION_POINTWISE_TDESC, tensor(t));
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, tensor(to));
  operation.finish();
  operations_.push_back(std::move(operation));
}

void OperationGraph::index(Id to, Id like, std::int64_t axis) {
  const cudnnPointwiseMode_t mode = CUDNN_POINTWISE_GEN_INDEX;
  Descriptor function(library_, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  function.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
  function.set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
  function.set(CUDNN_ATTR_POINTWISE_AXIS, axis);
  function.finish();
  Descriptor operation(library_, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, function);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, tensor(like));
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, tensor(to));
  operation.finish();
  operations_.push_back(std::move(operation));
}

Descriptor OperationGraph::finish(cudnnHandle_t handle) {
  Descriptor graph(library_, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operations_);
  if (handle != nullptr) graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, handle);
  graph.finish();
  return graph;
}

}  // namespace nll::cuda
