// Linear layers.                             N tokens, I inputs, O outputs;  x (N,I)  w (I,O)  y, dy (N,O)  bias (O)
// The products are cuBLASLt's (gemm.h). Bias, GELU, its derivative and the sums of the bias gradient belong to them
// where the library can; where it cannot, the kernels here do them.
//   fill_rows       y = bias in each row, for a product that adds to y: the sum is still rounded once
//   gelu_all        y = gelu(pre)
//   gelu_backward_all    dpre = dy * gelu'(pre), in place of dy or of pre where they are the same
// Bytes      fill_rows N O e + O e;  gelu_all 2 N O e;  gelu_backward_all 3 N I e
// Sums       none (column_sums.h has those of the bias gradient)
// Launch     16 bytes a thread where widths and addresses allow, else one element; 256 threads a block
// Roof       share not yet measured on a GPU
#include <type_traits>

#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/gelu.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/number.cuh"

namespace nll::cuda {
namespace {

constexpr int threads = 256;

template <class T, int n>
__global__ void fill_rows(T* y, const T* bias, std::int64_t columns) {
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * n;
  if (column >= columns) return;
  store_pack(y + static_cast<std::int64_t>(blockIdx.x) * columns + column, load_pack<n>(bias + column));
}

template <class T, int n>
__global__ void gelu_all(T* y, const T* pre, std::int64_t size) {
  const std::int64_t at = (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * n;
  if (at >= size) return;
  Pack<T, n> pack = load_pack<n>(pre + at);
  for (int i = 0; i < n; ++i) pack.at[i] = from_float<T>(gelu(to_float(pack.at[i])));
  store_pack(y + at, pack);
}

template <class T, int n>
__global__ void gelu_backward_all(T* dpre, const T* dy, const T* pre, std::int64_t size) {
  const std::int64_t at = (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * n;
  if (at >= size) return;
  Pack<T, n> pack = load_pack<n>(dy + at);
  const Pack<T, n> kept = load_pack<n>(pre + at);
  for (int i = 0; i < n; ++i) {
    pack.at[i] = from_float<T>(to_float(pack.at[i]) * gelu_derivative(to_float(kept.at[i])));
  }
  store_pack(dpre + at, pack);
}

// f(TypeTag<T>{}, n) with n elements a thread: 16 bytes of them where `columns` and the addresses allow.
template <class F>
void with_pack(DType type, std::int64_t columns, std::initializer_list<const void*> pointers, F&& f) {
  with_number_type(type, [&]<class T>(TypeTag<T> tag) {
    bool wide = columns % per_16_bytes<T> == 0;
    for (const void* pointer : pointers) wide = wide && aligned_to(pointer, 16);
    if (wide) {
      f(tag, std::integral_constant<int, per_16_bytes<T>>{});
    } else {
      f(tag, std::integral_constant<int, 1>{});
    }
  });
}

unsigned blocks_for(std::int64_t elements, int of_thread) {
  const std::int64_t of_block = std::int64_t{threads} * of_thread;
  const std::int64_t blocks = (elements + of_block - 1) / of_block;
  CHECK(blocks < std::int64_t{1} << 31);
  return static_cast<unsigned>(blocks);
}

void queue_fill_rows(const Stream& stream, void* y, const void* bias, DType type, std::int64_t n,
                     std::int64_t columns) {
  CHECK(n < std::int64_t{1} << 31);
  with_pack(type, columns, {y, bias}, [&]<class T, int wide>(TypeTag<T>, std::integral_constant<int, wide>) {
    launch(fill_rows<T, wide>, dim3(static_cast<unsigned>(n), blocks_for(columns, wide)), threads, 0, stream.get(),
           static_cast<T*>(y), static_cast<const T*>(bias), columns);
  });
}

void queue_gelu(const Stream& stream, void* y, const void* pre, DType type, std::int64_t size) {
  with_pack(type, size, {y, pre}, [&]<class T, int wide>(TypeTag<T>, std::integral_constant<int, wide>) {
    launch(gelu_all<T, wide>, blocks_for(size, wide), threads, 0, stream.get(), static_cast<T*>(y),
           static_cast<const T*>(pre), size);
  });
}

void queue_gelu_backward(const Stream& stream, void* dpre, const void* dy, const void* pre, DType type,
                         std::int64_t size) {
  with_pack(type, size, {dpre, dy, pre}, [&]<class T, int wide>(TypeTag<T>, std::integral_constant<int, wide>) {
    launch(gelu_backward_all<T, wide>, blocks_for(size, wide), threads, 0, stream.get(), static_cast<T*>(dpre),
           static_cast<const T*>(dy), static_cast<const T*>(pre), size);
  });
}

struct LinearShape {
  DType type;
  std::int64_t n, inputs, outputs;
};

LinearShape linear_shape(const Tensor& x, const Tensor& w) {
  CHECK(w.rank() == 2);
  CHECK(x.last() == w.dim(0));
  CHECK(x.type() == w.type());
  return {x.type(), x.rows(), w.dim(0), w.dim(1)};
}

// dw (I,O) (+)= x^T dy and dbias (O) (+)= column sums of dy; null: not wanted.
void weight_gradient(const Stream& stream, Scratch& scratch, Gemm& gemm, float* dw, float* dbias, Into into,
                     const void* dy, const void* x, const LinearShape& shape) {
  const auto [type, n, inputs, outputs] = shape;
  bool summed = dbias == nullptr;
  if (dw != nullptr) {
    GemmCall call{Product::tn, inputs, outputs, n, type, DType::f32, x, dy, dw, into == Into::add ? 1.0f : 0.0f};
    if (!summed) {
      // The library writes the sums; those that are to be added go by way of the scratch.
      call.epilogue = Epilogue::bias_gradient;
      call.bias = into == Into::add ? scratch.get<float>(outputs) : dbias;
      summed = gemm.run(call);
      if (summed && into == Into::add) {
        add_parts(stream, dbias, into, static_cast<const float*>(call.bias), 1, outputs);
      }
      if (summed) return;
      call.epilogue = Epilogue::none;
      call.bias = nullptr;
    }
    gemm.run(call);
  }
  if (!summed) {
    column_sums(stream, dbias, into, dy, type, n, outputs, scratch.get<float>(column_sums_scratch(n, outputs)));
  }
}

}  // namespace

void CudaOps::linear(Tensor y, Tensor x, Tensor w, Tensor bias) {
  const auto [type, n, inputs, outputs] = linear_shape(x, w);
  GemmCall call{Product::nn, n, outputs, inputs, type, type, x.data(), w.data()};
  call.c = expect_rows(y, "y", type, n, outputs);
  if (!bias.empty()) {
    call.bias = expect_size(bias, "bias", type, outputs);
    call.epilogue = Epilogue::bias;
    if (gemm_->run(call)) return;
    queue_fill_rows(*stream_, call.c, call.bias, type, n, outputs);
    call.epilogue = Epilogue::none;
    call.bias = nullptr;
    call.beta = 1;
  }
  gemm_->run(call);
}

void CudaOps::linear_gelu(Tensor y, Tensor pre, Tensor x, Tensor w, Tensor bias) {
  const auto [type, n, inputs, outputs] = linear_shape(x, w);
  GemmCall call{Product::nn, n, outputs, inputs, type, type, x.data(), w.data()};
  call.c = expect_rows(y, "y", type, n, outputs);
  call.auxiliary = expect_rows(pre, "pre", type, n, outputs);
  if (!bias.empty()) {
    call.bias = expect_size(bias, "bias", type, outputs);
    call.epilogue = Epilogue::gelu_bias;
    if (gemm_->run(call)) return;
  }
  linear(pre, x, w, bias);
  queue_gelu(*stream_, call.c, call.auxiliary, type, n * outputs);
}

void CudaOps::gelu(Tensor y, Tensor pre) {
  void* out = expect_rows(y, "y", pre.type(), pre.rows(), pre.last());
  queue_gelu(*stream_, out, pre.data(), pre.type(), pre.size());
}

void CudaOps::linear_backward(Tensor dx, Tensor dw, Tensor dbias, Into into, Tensor dy, Tensor x, Tensor w) {
  const LinearShape shape = linear_shape(x, w);
  const auto [type, n, inputs, outputs] = shape;
  void* gradient = expect_rows(dy, "dy", type, n, outputs);
  void* to_w = dw.empty() ? nullptr : expect(dw, "dw", DType::f32, {inputs, outputs});
  void* to_bias = dbias.empty() ? nullptr : expect_size(dbias, "dbias", DType::f32, outputs);
  void* to_x = dx.empty() ? nullptr : expect_rows(dx, "dx", type, n, inputs);
  weight_gradient(*stream_, scratch_, *gemm_, static_cast<float*>(to_w), static_cast<float*>(to_bias), into, gradient,
                  x.data(), shape);
  if (to_x != nullptr) {
    gemm_->run(GemmCall{Product::nt, n, inputs, outputs, type, type, gradient, w.data(), to_x});
  }
}

void CudaOps::linear_backward_gelu(Tensor dpre, Tensor dw, Tensor dbias, Into into, Tensor dy, Tensor x, Tensor w,
                                   Tensor pre) {
  const LinearShape shape = linear_shape(x, w);
  const auto [type, n, inputs, outputs] = shape;
  void* gradient = expect_rows(dy, "dy", type, n, outputs);
  void* kept = expect_rows(pre, "pre", type, n, inputs);
  void* to_w = dw.empty() ? nullptr : expect(dw, "dw", DType::f32, {inputs, outputs});
  void* to_bias = dbias.empty() ? nullptr : expect_size(dbias, "dbias", DType::f32, outputs);
  void* to_pre = expect_rows(dpre, "dpre", type, n, inputs);
  weight_gradient(*stream_, scratch_, *gemm_, static_cast<float*>(to_w), static_cast<float*>(to_bias), into, gradient,
                  x.data(), shape);
  GemmCall call{Product::nt, n, inputs, outputs, type, type, gradient, w.data(), to_pre};
  // In place of `pre` the library promises nothing: then the product waits in the scratch, which moves as many bytes as
  // a fused product there and a copy.
  if (to_pre == kept) {
    call.c = scratch_.get(dpre.bytes());
  } else {
    call.epilogue = Epilogue::gelu_backward;
    call.auxiliary = kept;
    if (gemm_->run(call)) return;
    call.epilogue = Epilogue::none;
    call.auxiliary = nullptr;
  }
  gemm_->run(call);
  queue_gelu_backward(*stream_, to_pre, call.c, kept, type, n * inputs);
}

}  // namespace nll::cuda
