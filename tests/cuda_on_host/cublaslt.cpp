// cuBLASLt's calls: descriptions, three algorithms, and the product as work of a stream.
#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <stdexcept>

#include "tests/cuda_on_host/memory.h"
#include "tests/cuda_on_host/pretended_gpu.h"
#include "tests/cuda_on_host/product.h"
#include "tests/cuda_on_host/queue.h"
#include "tests/cuda_on_host/running_count.h"

namespace host = nll::cuda_on_host;

struct cublasLtContext {};

struct cublasLtMatmulDescOpaque_t {
  std::int32_t compute, scale, transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N, pointer_mode = 0;
  std::uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  void* bias = nullptr;
  void* auxiliary = nullptr;
  std::int64_t auxiliary_leading = 0;
  std::int32_t auxiliary_type = -1, bias_type = -1;
};

struct cublasLtMatrixLayoutOpaque_t {
  cudaDataType_t type;
  std::int64_t rows, columns, leading;
};

struct cublasLtMatmulPreferenceOpaque_t {
  std::uint32_t search_mode = 0;
  std::uint64_t workspace_bytes = 0;
  std::uint32_t reduction_schemes = CUBLASLT_REDUCTION_SCHEME_MASK;
  std::uint32_t alignment_a = 256, alignment_b = 256, alignment_c = 256, alignment_d = 256;
};

namespace {

struct Field {
  void* at;
  std::size_t bytes;
};
template <class T>
Field field(T& member) {
  return {&member, sizeof(T)};
}

std::optional<Field> field_of(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t attribute) {
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_COMPUTE_TYPE:
      return field(d->compute);
    case CUBLASLT_MATMUL_DESC_SCALE_TYPE:
      return field(d->scale);
    case CUBLASLT_MATMUL_DESC_POINTER_MODE:
      return field(d->pointer_mode);
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return field(d->transpose_a);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return field(d->transpose_b);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return field(d->epilogue);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return field(d->bias);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER:
      return field(d->auxiliary);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD:
      return field(d->auxiliary_leading);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE:
      return field(d->auxiliary_type);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
      return field(d->bias_type);
  }
  return std::nullopt;
}

std::optional<Field> field_of(cublasLtMatmulPreference_t p, cublasLtMatmulPreferenceAttributes_t attribute) {
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_SEARCH_MODE:
      return field(p->search_mode);
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return field(p->workspace_bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return field(p->reduction_schemes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      return field(p->alignment_a);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      return field(p->alignment_b);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      return field(p->alignment_c);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return field(p->alignment_d);
  }
  return std::nullopt;
}

// An algorithm is its row in this table; `data` of cublasLtMatmulAlgo_t says which.
struct Algorithm {
  int tile;
  host::SumOrder order;
  cublasLtReductionScheme_t scheme;
  std::int64_t alignment;  // of pointers and leading dimensions, in bytes
};
constexpr std::array<Algorithm, 3> algorithms = {{
    {20, {0, 1}, CUBLASLT_REDUCTION_SCHEME_NONE, 16},
    {15, {64, 1}, CUBLASLT_REDUCTION_SCHEME_NONE, 1},
    {18, {0, 2}, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, 16},
}};
constexpr std::uint64_t algorithm_mark = 0x6e6c6c20686f7374;

cublasLtMatmulAlgo_t algorithm_at(std::size_t index) { return {{algorithm_mark, index, 0, 0, 0, 0, 0, 0}}; }

const Algorithm* algorithm_of(const cublasLtMatmulAlgo_t& algorithm) {
  if (algorithm.data[0] != algorithm_mark || algorithm.data[1] >= algorithms.size()) return nullptr;
  return &algorithms[algorithm.data[1]];
}

std::size_t workspace_of(const Algorithm& algorithm, const cublasLtMatrixLayoutOpaque_t& d) {
  if (algorithm.order.splits == 1) return 0;
  return static_cast<std::size_t>(d.rows * d.columns * 4 * algorithm.order.splits);
}

struct Problem {
  cublasLtMatmulDesc_t description;
  cublasLtMatrixLayout_t a, b, c, d;
};

bool is_epilogue(std::uint32_t epilogue) {
  switch (epilogue) {
    case CUBLASLT_EPILOGUE_DEFAULT:
    case CUBLASLT_EPILOGUE_BIAS:
    case CUBLASLT_EPILOGUE_GELU:
    case CUBLASLT_EPILOGUE_GELU_BIAS:
    case CUBLASLT_EPILOGUE_GELU_AUX:
    case CUBLASLT_EPILOGUE_GELU_AUX_BIAS:
    case CUBLASLT_EPILOGUE_DGELU:
    case CUBLASLT_EPILOGUE_DGELU_BGRAD:
    case CUBLASLT_EPILOGUE_BGRADA:
    case CUBLASLT_EPILOGUE_BGRADB:
      return true;
  }
  return false;
}

bool has_auxiliary(std::uint32_t epilogue) { return (epilogue & 128u) != 0; }
bool has_bias(std::uint32_t epilogue) { return (epilogue & (4u | 16u | 256u | 512u)) != 0; }

// Whether cuBLASLt's documentation has this combination.
cublasStatus_t check_problem(const Problem& problem) {
  const auto& [description, a, b, c, d] = problem;
  if (description == nullptr || a == nullptr || b == nullptr || c == nullptr || d == nullptr) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const std::int64_t m = description->transpose_a ? a->columns : a->rows;
  const std::int64_t k = description->transpose_a ? a->rows : a->columns;
  const std::int64_t b_rows = description->transpose_b ? b->columns : b->rows;
  const std::int64_t n = description->transpose_b ? b->rows : b->columns;
  if (b_rows != k || d->rows != m || d->columns != n || c->rows != m || c->columns != n) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (m < 1 || n < 1 || k < 1) return CUBLAS_STATUS_INVALID_VALUE;
  for (const auto* layout : {a, b, c, d}) {
    if (layout->leading < layout->rows) return CUBLAS_STATUS_INVALID_VALUE;
    if (layout->type != CUDA_R_32F && layout->type != CUDA_R_16F && layout->type != CUDA_R_16BF) {
      return CUBLAS_STATUS_NOT_SUPPORTED;
    }
  }
  if (description->scale != CUDA_R_32F || description->pointer_mode != 0) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (a->type != b->type || c->type != d->type) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (d->type != a->type && d->type != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (description->compute == CUBLAS_COMPUTE_32F_FAST_TF32) {
    if (a->type != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
  } else if (description->compute != CUBLAS_COMPUTE_32F) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  const std::uint32_t epilogue = description->epilogue;
  if (!is_epilogue(epilogue)) return CUBLAS_STATUS_NOT_SUPPORTED;
  const auto& missing = host::pretended_gpu().epilogues_without_algorithm;
  if (std::count(missing.begin(), missing.end(), static_cast<int>(epilogue)) != 0) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (has_bias(epilogue) && description->bias_type != -1 && description->bias_type != d->type) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  if (has_auxiliary(epilogue)) {
    if (description->auxiliary_type != -1 && description->auxiliary_type != d->type) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (description->auxiliary_leading % 8 != 0 || description->auxiliary_leading < m)
      return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  return CUBLAS_STATUS_SUCCESS;
}

bool aligned_by(std::int64_t alignment, const cublasLtMatrixLayoutOpaque_t& layout) {
  return layout.leading * host::bytes_of(layout.type) % alignment == 0;
}

// Whether the algorithm can take these leading dimensions.
bool fits(const Algorithm& algorithm, const Problem& problem) {
  for (const auto* layout : {problem.a, problem.b, problem.c, problem.d}) {
    if (!aligned_by(algorithm.alignment, *layout)) return false;
  }
  return true;
}

cublasLtMatmulHeuristicResult_t result_for(std::size_t index, const Problem& problem) {
  cublasLtMatmulHeuristicResult_t result{};
  result.algo = algorithm_at(index);
  result.workspaceSize = workspace_of(algorithms[index], *problem.d);
  result.state = CUBLAS_STATUS_SUCCESS;
  result.wavesCount = 1.0f;
  return result;
}

// A GPU would read or write beyond its memory; here that is told.
void expect_on_device(const char* name, const void* data, std::int64_t columns, std::int64_t rows, std::int64_t leading,
                      cudaDataType_t type) {
  const std::int64_t bytes = ((columns - 1) * leading + rows) * host::bytes_of(type);
  if (data != nullptr && host::memory().holds(data, static_cast<std::size_t>(bytes), host::Place::device)) return;
  throw std::logic_error(std::string("cublasLtMatmul: ") + name + " is not within one allocation of device memory");
}

}  // namespace

const char* cublasLtGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED:
      return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_ARCH_MISMATCH:
      return "CUBLAS_STATUS_ARCH_MISMATCH";
    case CUBLAS_STATUS_MAPPING_ERROR:
      return "CUBLAS_STATUS_MAPPING_ERROR";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_INTERNAL_ERROR:
      return "CUBLAS_STATUS_INTERNAL_ERROR";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
    case CUBLAS_STATUS_LICENSE_ERROR:
      return "CUBLAS_STATUS_LICENSE_ERROR";
  }
  return "CUBLAS_STATUS_UNKNOWN";
}
const char* cublasLtGetStatusString(cublasStatus_t status) { return cublasLtGetStatusName(status); }
std::size_t cublasLtGetVersion() { return 130100; }
std::size_t cublasLtGetCudartVersion() { return CUDART_VERSION; }

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  if (host::device_usable() != cudaSuccess) return CUBLAS_STATUS_NOT_INITIALIZED;
  *handle = new cublasLtContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* description, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  *description = new cublasLtMatmulDescOpaque_t{compute, scale};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t description) {
  delete description;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t description,
                                              cublasLtMatmulDescAttributes_t attribute, const void* value,
                                              std::size_t bytes) {
  const std::optional<Field> found = field_of(description, attribute);
  if (!found || value == nullptr || bytes != found->bytes) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(found->at, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescGetAttribute(cublasLtMatmulDesc_t description,
                                              cublasLtMatmulDescAttributes_t attribute, void* value, std::size_t bytes,
                                              std::size_t* written) {
  const std::optional<Field> found = field_of(description, attribute);
  if (!found || bytes < found->bytes) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(value, found->at, found->bytes);
  if (written != nullptr) *written = found->bytes;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type, std::uint64_t rows,
                                          std::uint64_t columns, std::int64_t leading_dimension) {
  *layout = new cublasLtMatrixLayoutOpaque_t{type, static_cast<std::int64_t>(rows), static_cast<std::int64_t>(columns),
                                             leading_dimension};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = new cublasLtMatmulPreferenceOpaque_t;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                                                    std::size_t bytes) {
  const std::optional<Field> found = field_of(preference, attribute);
  if (!found || value == nullptr || bytes != found->bytes) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(found->at, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t description,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int requested,
                                              cublasLtMatmulHeuristicResult_t results[], int* returned) {
  *returned = 0;
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (requested <= 0 || preference == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  const Problem problem{description, a, b, c, d};
  if (const cublasStatus_t status = check_problem(problem); status != CUBLAS_STATUS_SUCCESS) return status;
  for (std::size_t i = 0; i < algorithms.size() && *returned < requested; ++i) {
    const Algorithm& algorithm = algorithms[i];
    const std::uint32_t scheme = algorithm.scheme;
    if (scheme != 0 && (preference->reduction_schemes & scheme) == 0) continue;
    if (workspace_of(algorithm, *d) > preference->workspace_bytes || !fits(algorithm, problem)) continue;
    const std::int64_t alignment = std::min(std::min(preference->alignment_a, preference->alignment_b),
                                            std::min(preference->alignment_c, preference->alignment_d));
    if (alignment < algorithm.alignment) continue;
    results[(*returned)++] = result_for(i, problem);
  }
  return *returned > 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t handle, cublasLtMatmulDesc_t description,
                                       cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                       cublasLtMatrixLayout_t d, const cublasLtMatmulAlgo_t* algorithm,
                                       cublasLtMatmulHeuristicResult_t* result) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  const Problem problem{description, a, b, c, d};
  if (const cublasStatus_t status = check_problem(problem); status != CUBLAS_STATUS_SUCCESS) return status;
  const Algorithm* const found = algorithm != nullptr ? algorithm_of(*algorithm) : nullptr;
  if (found == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  if (!fits(*found, problem)) return CUBLAS_STATUS_NOT_SUPPORTED;
  const cublasLtMatmulAlgo_t kept = result->algo;  // never written by this call
  *result = result_for(algorithm->data[1], problem);
  result->algo = kept;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t* algorithm,
                                                    cublasLtMatmulAlgoConfigAttributes_t attribute, void* value,
                                                    std::size_t bytes, std::size_t* written) {
  const Algorithm* const found = algorithm_of(*algorithm);
  if (found == nullptr || bytes < 4) return CUBLAS_STATUS_INVALID_VALUE;
  std::int32_t answer = 0;
  switch (attribute) {
    case CUBLASLT_ALGO_CONFIG_ID:
      answer = static_cast<std::int32_t>(algorithm->data[1]);
      break;
    case CUBLASLT_ALGO_CONFIG_TILE_ID:
      answer = found->tile;
      break;
    case CUBLASLT_ALGO_CONFIG_SPLITK_NUM:
      answer = found->order.splits;
      break;
    case CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME:
      answer = found->scheme;
      break;
    case CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING:
    case CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION:
    case CUBLASLT_ALGO_CONFIG_STAGES_ID:
      break;
    default:
      return CUBLAS_STATUS_INVALID_VALUE;
  }
  std::memcpy(value, &answer, 4);
  if (written != nullptr) *written = 4;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t description, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace, std::size_t workspace_bytes,
                              cudaStream_t stream) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  const Problem problem{description, a_layout, b_layout, c_layout, d_layout};
  if (const cublasStatus_t status = check_problem(problem); status != CUBLAS_STATUS_SUCCESS) return status;
  const Algorithm* const found = algorithm != nullptr ? algorithm_of(*algorithm) : &algorithms[1];
  if (found == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  if (!fits(*found, problem)) return CUBLAS_STATUS_NOT_SUPPORTED;
  const std::size_t needed = workspace_of(*found, *d_layout);
  if (workspace_bytes < needed) return CUBLAS_STATUS_INVALID_VALUE;

  host::ProductCall call;
  const auto matrix = [](const void* data, cublasLtMatrixLayout_t layout) {
    return host::ProductMatrix{const_cast<void*>(data), layout->type, layout->rows, layout->columns, layout->leading};
  };
  call.a = matrix(a, a_layout);
  call.b = matrix(b, b_layout);
  call.c = matrix(c, c_layout);
  call.d = matrix(d, d_layout);
  call.transpose_a = description->transpose_a != CUBLAS_OP_N;
  call.transpose_b = description->transpose_b != CUBLAS_OP_N;
  call.tf32 = description->compute == CUBLAS_COMPUTE_32F_FAST_TF32;
  std::memcpy(&call.alpha, alpha, 4);
  std::memcpy(&call.beta, beta, 4);
  call.epilogue = static_cast<cublasLtEpilogue_t>(description->epilogue);
  call.bias = description->bias;
  call.auxiliary = description->auxiliary;
  call.auxiliary_leading = description->auxiliary_leading;
  call.order = found->order;

  const auto check_matrix = [&](const char* name, const host::ProductMatrix& of) {
    expect_on_device(name, of.data, of.columns, of.rows, of.leading, of.type);
    return reinterpret_cast<std::uintptr_t>(of.data) % static_cast<std::uintptr_t>(found->alignment) == 0;
  };
  bool aligned = check_matrix("A", call.a) && check_matrix("B", call.b) && check_matrix("D", call.d);
  if (call.beta != 0) aligned = check_matrix("C", call.c) && aligned;
  if (!aligned) return CUBLAS_STATUS_NOT_SUPPORTED;
  const std::int64_t m = call.d.rows, n = call.d.columns;
  if (has_bias(description->epilogue)) {
    const std::int64_t length = description->epilogue == CUBLASLT_EPILOGUE_BGRADB ? n : m;
    expect_on_device("the bias", call.bias, 1, length, length, call.d.type);
  }
  if (has_auxiliary(description->epilogue)) {
    expect_on_device("the auxiliary matrix", call.auxiliary, n, m, call.auxiliary_leading, call.d.type);
  }
  if (needed > 0) expect_on_device("the workspace", workspace, 1, static_cast<std::int64_t>(needed / 4), 1, CUDA_R_32F);

  const cudaError_t queued = host::call([&](host::Queues& all) {
    ++host::running_count().products;
    return all.add(stream, [call, workspace, needed] {
      if (needed > 0) std::memset(workspace, 0xff, needed);  // it is the library's until the product is done
      host::multiply(call);
    });
  });
  return queued == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}
