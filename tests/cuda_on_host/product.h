// A matrix product as cuBLASLt defines it, on the host.
#pragma once
#include <cublasLt.h>

#include <cstdint>

namespace nll::cuda_on_host {

struct ProductMatrix {  // column-major
  void* data = nullptr;
  cudaDataType_t type = CUDA_R_32F;
  std::int64_t rows = 0, columns = 0, leading = 0;
};

// In which order the sum over k is taken: what tells one algorithm's bits from another's.
struct SumOrder {
  std::int64_t chunk = 0;  // partial sums of so many terms are added up; 0: one sum
  int splits = 1;          // k is cut into so many parts, which are added up at the end
};

struct ProductCall {
  ProductMatrix a, b, c, d;  // as stored; d (m,n)
  bool transpose_a = false, transpose_b = false;
  bool tf32 = false;
  float alpha = 1, beta = 0;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  void* bias = nullptr;       // in d's type
  void* auxiliary = nullptr;  // (m,n) in d's type
  std::int64_t auxiliary_leading = 0;
  SumOrder order;
};

// d = epilogue(alpha op(a) op(b) + beta c).
void multiply(const ProductCall& call);

std::int64_t bytes_of(cudaDataType_t type);

}  // namespace nll::cuda_on_host
