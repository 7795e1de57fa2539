#include "kernels/cuda/library_product.h"

#include <string>

namespace nll::cuda {
namespace {

// Algorithms that the library is asked for. It often ranks the fastest second to tenth.
constexpr int most_algorithms = 16;

cudaDataType_t library_type(DType type) {
  if (type == DType::bf16) return CUDA_R_16BF;
  if (type == DType::f16) return CUDA_R_16F;
  CHECK(type == DType::f32);
  return CUDA_R_32F;
}

cublasLtEpilogue_t library_epilogue(Epilogue epilogue) {
  switch (epilogue) {
    case Epilogue::bias:
      return CUBLASLT_EPILOGUE_BIAS;
    case Epilogue::gelu_bias:
      return CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
    case Epilogue::gelu_backward:
      return CUBLASLT_EPILOGUE_DGELU;
    case Epilogue::bias_gradient:
      // Sums of our b over k: one for each column of c, which is a row of D; and b is the library's first factor.
      return CUBLASLT_EPILOGUE_BGRADA;
    case Epilogue::none:
      break;
  }
  return CUBLASLT_EPILOGUE_DEFAULT;
}

template <class T>
void set(cublasLtMatmulDesc_t description, cublasLtMatmulDescAttributes_t attribute, const T& value) {
  check(cublasLtMatmulDescSetAttribute(description, attribute, &value, sizeof(value)), "describing a product");
}

template <class T>
void set(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute, const T& value) {
  check(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value)), "describing a product");
}

cublasLtMatrixLayout_t layout(DType type, std::int64_t rows, std::int64_t columns) {
  cublasLtMatrixLayout_t made = nullptr;
  check(cublasLtMatrixLayoutCreate(&made, library_type(type), static_cast<std::uint64_t>(rows),
                                   static_cast<std::uint64_t>(columns), rows),
        "describing a matrix");
  return made;
}

// Split sums may be put together in the type they are computed in. In the type of the result only where that is FP32:
// every sum here accumulates in FP32. In place means in the order in which blocks arrive.
std::uint32_t reductions(const ProductKey& key) {
  std::uint32_t mask = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  if (key.out == DType::f32) {
    mask |= CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE;
    if (!key.deterministic) mask |= CUBLASLT_REDUCTION_SCHEME_INPLACE;
  }
  return mask;
}

// Means that the library lacks an algorithm, and nothing worse.
bool unsupported(cublasStatus_t outcome) {
  return outcome == CUBLAS_STATUS_NOT_SUPPORTED || outcome == CUBLAS_STATUS_INVALID_VALUE ||
         outcome == CUBLAS_STATUS_ARCH_MISMATCH;
}

}  // namespace

void check(cublasStatus_t outcome, const char* what) {
  if (outcome == CUBLAS_STATUS_SUCCESS) return;
  const bool memory = outcome == CUBLAS_STATUS_ALLOC_FAILED;
  throw Error(memory ? Exit::resources : Exit::internal,
              std::string("cuda: ") + what + ": " + cublasLtGetStatusName(outcome),
              memory ? "free the GPU of other programs, or lower batch.sequences" : "");
}

LibraryProduct::LibraryProduct(const Library& library, const ProductKey& key) : library_(library), key_(key) {
  const bool reduced = key.tf32 && key.in == DType::f32;
  cublasLtMatmulDesc_t description = nullptr;
  check(cublasLtMatmulDescCreate(&description, reduced ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F),
        "describing a product");
  description_.reset(description);
  // Row-major (r,c) is column-major (c,r). D (n,m) = op(b) op(a), where our own transposition cancels the library's.
  const std::int32_t first = key.product == Product::nt ? CUBLAS_OP_T : CUBLAS_OP_N;
  const std::int32_t second = key.product == Product::tn ? CUBLAS_OP_T : CUBLAS_OP_N;
  set(description, CUBLASLT_MATMUL_DESC_TRANSA, first);
  set(description, CUBLASLT_MATMUL_DESC_TRANSB, second);
  set(description, CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<std::uint32_t>(library_epilogue(key.epilogue)));
  first_.reset(first == CUBLAS_OP_T ? layout(key.in, key.k, key.n) : layout(key.in, key.n, key.k));
  second_.reset(second == CUBLAS_OP_T ? layout(key.in, key.m, key.k) : layout(key.in, key.k, key.m));
  result_.reset(layout(key.out, key.n, key.m));
}

void LibraryProduct::point_at(const GemmCall& call) const {
  if (call.bias != nullptr) {
    const DType type = key_.epilogue == Epilogue::bias_gradient ? DType::f32 : key_.out;
    set(description_.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER, call.bias);
    set(description_.get(), CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, static_cast<std::int32_t>(library_type(type)));
  }
  if (call.auxiliary != nullptr) {
    set(description_.get(), CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, call.auxiliary);
    set(description_.get(), CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, key_.n);
  }
}

std::vector<Algorithm> LibraryProduct::algorithms(const GemmCall& call, std::size_t workspace_bytes) const {
  if (call.auxiliary != nullptr && key_.n % 8 != 0) return {};  // the library's rule for auxiliary matrices
  point_at(call);
  cublasLtMatmulPreference_t preference = nullptr;
  check(cublasLtMatmulPreferenceCreate(&preference), "describing a product");
  const Owned<cublasLtMatmulPreference_t> owned{preference, cublasLtMatmulPreferenceDestroy};
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<std::uint64_t>(workspace_bytes));
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reductions(key_));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<std::uint32_t>(key_.align_b));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<std::uint32_t>(key_.align_a));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<std::uint32_t>(key_.align_c));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<std::uint32_t>(key_.align_c));
  cublasLtMatmulHeuristicResult_t results[most_algorithms]{};
  int count = 0;
  const cublasStatus_t outcome =
      cublasLtMatmulAlgoGetHeuristic(library_.get(), description_.get(), first_.get(), second_.get(), result_.get(),
                                     result_.get(), preference, most_algorithms, results, &count);
  if (unsupported(outcome)) return {};
  check(outcome, "choosing a matrix product");
  std::vector<Algorithm> found;
  for (int i = 0; i < count; ++i) {
    if (results[i].state == CUBLAS_STATUS_SUCCESS) found.push_back({results[i].algo, results[i].workspaceSize});
  }
  return found;
}

std::optional<Algorithm> LibraryProduct::checked(const cublasLtMatmulAlgo_t& algorithm, const GemmCall& call,
                                                 std::size_t workspace_bytes) const {
  point_at(call);
  cublasLtMatmulHeuristicResult_t result{};
  const cublasStatus_t outcome =
      cublasLtMatmulAlgoCheck(library_.get(), description_.get(), first_.get(), second_.get(), result_.get(),
                              result_.get(), &algorithm, &result);
  if (outcome != CUBLAS_STATUS_SUCCESS || result.workspaceSize > workspace_bytes) return std::nullopt;
  return Algorithm{algorithm, result.workspaceSize};
}

cublasStatus_t LibraryProduct::run(const Algorithm& algorithm, const GemmCall& call, void* workspace,
                                   std::size_t workspace_bytes, cudaStream_t stream) const {
  point_at(call);
  const float one = 1, beta = call.beta;
  return cublasLtMatmul(library_.get(), description_.get(), &one, call.b, first_.get(), call.a, second_.get(), &beta,
                        call.c, result_.get(), call.c, result_.get(), &algorithm.algorithm, workspace, workspace_bytes,
                        stream);
}

}  // namespace nll::cuda
