#include "kernels/cuda/cuda_ops.h"

#include "kernels/cuda/cudnn_attention.h"

namespace nll::cuda {
namespace {

const char* name(DType type) {
  switch (type) {
    case DType::f32:
      return "f32";
    case DType::bf16:
      return "bf16";
    case DType::f16:
      return "f16";
    case DType::i32:
      return "i32";
    case DType::f64:
      return "f64";
    case DType::u8:
      return "u8";
  }
  return "?";
}

}  // namespace

CudaOps::CudaOps(std::shared_ptr<Stream> stream, std::unique_ptr<Gemm> gemm, std::unique_ptr<CudnnAttention> cudnn)
    : stream_(std::move(stream)), scratch_(*stream_), gemm_(std::move(gemm)), cudnn_(std::move(cudnn)) {}
CudaOps::~CudaOps() = default;

void* expect(const Tensor& tensor, const char* name_of, DType type, std::initializer_list<std::int64_t> dims) {
  const Tensor expected(nullptr, type, dims);
  bool same = tensor.rank() == expected.rank();
  for (int i = 0; same && i < expected.rank(); ++i) same = tensor.dim(i) == expected.dim(i);
  const bool same_type = tensor.type() == type;
  if (!same || !same_type) {
    const auto shown = [&](const Tensor& shape) {
      return std::string(name_of) + (same_type ? "" : std::string(" ") + name(shape.type())) + " " + shape.shape_text();
    };
    const std::string found = shown(tensor), wanted = shown(expected);
    CHECK(found == wanted);
  }
  return tensor.data();
}

void* expect_rows(const Tensor& tensor, const char* name_of, DType type, std::int64_t rows, std::int64_t last) {
  const bool same = rows == tensor.rows() && tensor.rank() >= 1 && tensor.last() == last;
  if (same && tensor.type() == type) return tensor.data();
  // Of the right shape in more dimensions only the type is wrong.
  return expect(same ? tensor.reshape({rows, last}) : tensor, name_of, type, {rows, last});
}

void* expect_size(const Tensor& tensor, const char* name_of, DType type, std::int64_t size) {
  const bool same = tensor.size() == size;
  if (same && tensor.type() == type) return tensor.data();
  return expect(same ? tensor.reshape({size}) : tensor, name_of, type, {size});
}

}  // namespace nll::cuda
