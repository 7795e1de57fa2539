#include "kernels/cuda/cudnn/attention_graph.h"

namespace nll::cuda {
namespace {

using Id = OperationGraph::Id;
using Shape = OperationGraph::Shape;
namespace tensor = attention_tensor;

struct Shapes {
  explicit Shapes(const AttentionShape& s) {
    const std::int64_t width = s.heads * s.head_size;
    packed = {{s.batch, s.heads, s.time, s.head_size}, {s.time * 3 * width, s.head_size, 3 * width, 1}};
    plain = {{s.batch, s.heads, s.time, s.head_size}, {s.time * width, s.head_size, width, 1}};
    rows = Shape::dense({s.batch, s.heads, s.time, 1});
    scores = Shape::dense({s.batch, s.heads, s.time, s.time});
    heads = Shape::dense({s.batch, s.heads, s.time, s.head_size});
  }
  Shape packed;  // q, k, v of (B,T,3C)
  Shape plain;   // y of (B,T,C)
  Shape rows;    // lse of (B,H,T)
  Shape scores;  // (B,H,T,T), never in memory
  Shape heads;   // (B,H,T,D), dense
};

// Scores where key <= query, else `masked`.
Id causal(OperationGraph& graph, const Shapes& shapes, Id scores) {
  const Id query = graph.between(CUDNN_DATA_INT32, shapes.scores);
  graph.index(query, scores, 2);
  const Id key = graph.between(CUDNN_DATA_INT32, shapes.scores);
  graph.index(key, scores, 3);
  const Id seen = graph.between(CUDNN_DATA_BOOLEAN, shapes.scores);
  graph.pointwise(seen, CUDNN_POINTWISE_CMP_GE, query, key, OperationGraph::none, CUDNN_DATA_BOOLEAN);
  const Id result = graph.between(CUDNN_DATA_FLOAT, shapes.scores);
  graph.pointwise(result, CUDNN_POINTWISE_BINARY_SELECT, scores, graph.number(tensor::masked), seen);
  return result;
}

// A new FP32 tensor of that shape: mode(x, b).
Id point(OperationGraph& graph, const Shape& shape, cudnnPointwiseMode_t mode, Id x, Id b = OperationGraph::none) {
  const Id result = graph.between(CUDNN_DATA_FLOAT, shape);
  graph.pointwise(result, mode, x, b);
  return result;
}

Id product(OperationGraph& graph, const Shape& shape, Id a, Id b) {
  const Id result = graph.between(CUDNN_DATA_FLOAT, shape);
  graph.matmul(result, a, b);
  return result;
}

}  // namespace

OperationGraph attention_forward_graph(const CudnnLibrary& library, const AttentionShape& shape) {
  const Shapes shapes(shape);
  OperationGraph graph(library);
  const Id q = graph.memory(tensor::q, shape.type, shapes.packed);
  const Id k_transposed = graph.memory(tensor::k, shape.type, shapes.packed.transposed());
  const Id v = graph.memory(tensor::v, shape.type, shapes.packed);
  const Id y = graph.memory(tensor::y, shape.type, shapes.plain);
  const Id lse = graph.memory(tensor::lse, CUDNN_DATA_FLOAT, shapes.rows);
  const Id scale = graph.number(tensor::scale);

  const Id products = product(graph, shapes.scores, q, k_transposed);
  const Id scaled = point(graph, shapes.scores, CUDNN_POINTWISE_MUL, products, scale);
  const Id scores = causal(graph, shapes, scaled);

  const Id maximum = graph.between(CUDNN_DATA_FLOAT, shapes.rows);
  graph.reduce(maximum, CUDNN_REDUCE_TENSOR_MAX, scores);
  const Id below = point(graph, shapes.scores, CUDNN_POINTWISE_SUB, scores, maximum);
  const Id exponentials = point(graph, shapes.scores, CUDNN_POINTWISE_EXP, below);
  const Id sum = graph.between(CUDNN_DATA_FLOAT, shapes.rows);
  graph.reduce(sum, CUDNN_REDUCE_TENSOR_ADD, exponentials);
  const Id log_sum = point(graph, shapes.rows, CUDNN_POINTWISE_LOG, sum);
  graph.pointwise(lse, CUDNN_POINTWISE_ADD, maximum, log_sum);
  const Id p = graph.between(shape.type, shapes.scores);
  graph.pointwise(p, CUDNN_POINTWISE_DIV, exponentials, sum);
  graph.matmul(y, p, v);
  return graph;
}

OperationGraph attention_backward_graph(const CudnnLibrary& library, const AttentionShape& shape, bool deterministic) {
  const Shapes shapes(shape);
  OperationGraph graph(library);
  const Id q = graph.memory(tensor::q, shape.type, shapes.packed);
  const Id k_transposed = graph.memory(tensor::k, shape.type, shapes.packed.transposed());
  const Id v_transposed = graph.memory(tensor::v, shape.type, shapes.packed.transposed());
  const Id y = graph.memory(tensor::y, shape.type, shapes.plain);
  const Id lse = graph.memory(tensor::lse, CUDNN_DATA_FLOAT, shapes.rows);
  const Id dy = graph.memory(tensor::dy, shape.type, shapes.plain);
  const Id dq = graph.memory(tensor::dq, shape.type, shapes.packed);
  const Id dk = graph.memory(tensor::dk, shape.type, shapes.packed);
  const Id dv = graph.memory(tensor::dv, shape.type, shapes.packed);
  const Id y_dy = graph.memory(tensor::y_dy, CUDNN_DATA_FLOAT, shapes.rows);
  const Id scale = graph.number(tensor::scale);

  // y_dy = sum over D of y dy. The factor of 1 stands where the pattern has that of dropout.
  const Id parts = point(graph, shapes.heads, CUDNN_POINTWISE_MUL, dy, y);
  const Id sums = graph.between(CUDNN_DATA_FLOAT, shapes.rows);
  graph.reduce(sums, CUDNN_REDUCE_TENSOR_ADD, parts);
  graph.pointwise(y_dy, CUDNN_POINTWISE_MUL, sums, graph.number(tensor::one));

  // P = exp(q k^T scale - lse);  dv = P^T dy
  const Id products = product(graph, shapes.scores, q, k_transposed);
  const Id scaled = point(graph, shapes.scores, CUDNN_POINTWISE_MUL, products, scale);
  const Id logarithms = causal(graph, shapes, point(graph, shapes.scores, CUDNN_POINTWISE_SUB, scaled, lse));
  const Id p = point(graph, shapes.scores, CUDNN_POINTWISE_EXP, logarithms);
  const Id p_transposed = graph.between(shape.type, shapes.scores.transposed());
  graph.reshape(p_transposed, p);
  graph.matmul(dv, p_transposed, dy);

  // dS = P (dy v^T - y_dy) scale;  dk = dS^T q
  const Id dp = product(graph, shapes.scores, dy, v_transposed);
  const Id centred = point(graph, shapes.scores, CUDNN_POINTWISE_SUB, dp, y_dy);
  const Id weighted = point(graph, shapes.scores, CUDNN_POINTWISE_MUL, centred, p);
  const Id ds = point(graph, shapes.scores, CUDNN_POINTWISE_MUL, weighted, scale);
  const Id ds_transposed = graph.between(shape.type, shapes.scores.transposed());
  graph.reshape(ds_transposed, ds);
  graph.matmul(dk, ds_transposed, q);

  // dq = dS k
  const Id k = graph.between(shape.type, shapes.packed);
  graph.reshape(k, k_transposed);
  if (deterministic) {
    graph.matmul(dq, ds, k);
  } else {
    const Id dq_sum = graph.memory(tensor::dq_sum, CUDNN_DATA_FLOAT, shapes.heads);
    graph.matmul(dq_sum, ds, k);
    graph.pointwise(dq, CUDNN_POINTWISE_IDENTITY, dq_sum);
  }
  return graph;
}

}  // namespace nll::cuda
