// The stand-in for cuBLASLt against plain loops in FP64: every transpose, type and epilogue.
#include "tests/cuda_on_host/product.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <random>

#include "tests/cuda_on_host/device_array.h"
#include "tests/cuda_on_host/number_types.h"
#include "tests/cuda_on_host/pretended_gpu.h"

namespace nll::cuda_on_host {
namespace {

// A column-major matrix of any type on the device, and what it holds in FP64.
class Matrix {
 public:
  Matrix(cudaDataType_t type, int rows, int columns, int leading, unsigned seed)
      : Matrix(type, rows, columns, leading) {
    std::mt19937 engine(seed);
    std::normal_distribution<float> normal;
    std::vector<unsigned char> bytes(static_cast<std::size_t>(leading * columns * size()), 0xff);
    for (int j = 0; j < columns; ++j) {
      for (int i = 0; i < rows; ++i) put(bytes.data(), i + j * leading, normal(engine));
    }
    EXPECT_EQ(cudaMemcpy(storage_.data(), bytes.data(), bytes.size(), cudaMemcpyHostToDevice), cudaSuccess);
  }
  Matrix(cudaDataType_t type, int rows, int columns, int leading)
      : type_(type), leading_(leading), storage_(static_cast<std::size_t>(leading * columns * size())) {
    const auto r = static_cast<std::uint64_t>(rows), c = static_cast<std::uint64_t>(columns);
    EXPECT_EQ(cublasLtMatrixLayoutCreate(&layout_, type, r, c, leading), CUBLAS_STATUS_SUCCESS);
  }
  ~Matrix() { cublasLtMatrixLayoutDestroy(layout_); }
  Matrix(const Matrix&) = delete;
  Matrix& operator=(const Matrix&) = delete;

  cublasLtMatrixLayout_t layout() const { return layout_; }
  void* data() const { return storage_.data(); }
  // Element (i, j) of op: row i, column j, or the other way round.
  std::function<double(int, int)> values(bool transposed = false) const {
    return [bytes = storage_.values(), this, transposed](int i, int j) {
      const int at = transposed ? j + i * leading_ : i + j * leading_;
      if (type_ == CUDA_R_32F) {
        float value = 0;
        std::memcpy(&value, bytes.data() + 4 * at, 4);
        return static_cast<double>(value);
      }
      std::uint16_t bits = 0;
      std::memcpy(&bits, bytes.data() + 2 * at, 2);
      return static_cast<double>(type_ == CUDA_R_16F ? half_value(bits) : bfloat16_value(bits));
    };
  }

 private:
  int size() const { return type_ == CUDA_R_32F ? 4 : 2; }
  void put(unsigned char* bytes, int at, float value) const {
    const std::uint16_t bits = type_ == CUDA_R_16F ? half_bits(value) : bfloat16_bits(value);
    std::memcpy(bytes + at * size(), type_ == CUDA_R_32F ? static_cast<const void*>(&value) : &bits,
                static_cast<std::size_t>(size()));
  }
  cudaDataType_t type_;
  int leading_;
  DeviceArray<unsigned char> storage_;
  cublasLtMatrixLayout_t layout_ = nullptr;
};

double unit_of(cudaDataType_t type) { return type == CUDA_R_16BF ? 0x1p-8 : type == CUDA_R_16F ? 0x1p-11 : 0x1p-24; }

class Products : public testing::Test {
 protected:
  Products() { EXPECT_EQ(cublasLtCreate(&handle_), CUBLAS_STATUS_SUCCESS); }
  ~Products() override { cublasLtDestroy(handle_); }

  struct Description {
    explicit Description(cublasLtEpilogue_t epilogue, bool transpose_a = false, bool transpose_b = false,
                         cublasComputeType_t compute = CUBLAS_COMPUTE_32F) {
      EXPECT_EQ(cublasLtMatmulDescCreate(&handle, compute, CUDA_R_32F), CUBLAS_STATUS_SUCCESS);
      set(CUBLASLT_MATMUL_DESC_TRANSA, transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
      set(CUBLASLT_MATMUL_DESC_TRANSB, transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
    }
    ~Description() { cublasLtMatmulDescDestroy(handle); }
    template <class T>
    void set(cublasLtMatmulDescAttributes_t attribute, T value) {
      EXPECT_EQ(cublasLtMatmulDescSetAttribute(handle, attribute, &value, sizeof(value)), CUBLAS_STATUS_SUCCESS);
    }
    cublasLtMatmulDesc_t handle = nullptr;
  };

  // All algorithms there are for it with this much workspace.
  std::vector<cublasLtMatmulHeuristicResult_t> algorithms(const Description& description, const Matrix& a,
                                                          const Matrix& b, const Matrix& d,
                                                          std::uint64_t workspace = 1 << 20,
                                                          std::uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_MASK) {
    cublasLtMatmulPreference_t preference = nullptr;
    EXPECT_EQ(cublasLtMatmulPreferenceCreate(&preference), CUBLAS_STATUS_SUCCESS);
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, 8);
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &schemes, 4);
    std::vector<cublasLtMatmulHeuristicResult_t> results(16);
    int count = 0;
    status_ = cublasLtMatmulAlgoGetHeuristic(handle_, description.handle, a.layout(), b.layout(), d.layout(),
                                             d.layout(), preference, 16, results.data(), &count);
    cublasLtMatmulPreferenceDestroy(preference);
    results.resize(static_cast<std::size_t>(count));
    return results;
  }

  cublasStatus_t multiply(const Description& description, const Matrix& a, const Matrix& b, const Matrix& d,
                          float beta = 0, float alpha = 1, const cublasLtMatmulAlgo_t* algorithm = nullptr,
                          cudaStream_t stream = nullptr) {
    return cublasLtMatmul(handle_, description.handle, &alpha, a.data(), a.layout(), b.data(), b.layout(), &beta,
                          d.data(), d.layout(), d.data(), d.layout(), algorithm, workspace_.data(), 1 << 20, stream);
  }

  cublasLtHandle_t handle_ = nullptr;
  cublasStatus_t status_ = CUBLAS_STATUS_SUCCESS;
  DeviceArray<unsigned char> workspace_{1 << 20};
};

struct Types {
  cudaDataType_t in, out;
};
const Types all_types[] = {{CUDA_R_32F, CUDA_R_32F},
                           {CUDA_R_16BF, CUDA_R_16BF},
                           {CUDA_R_16BF, CUDA_R_32F},
                           {CUDA_R_16F, CUDA_R_16F},
                           {CUDA_R_16F, CUDA_R_32F}};
constexpr int m = 24, n = 16, k = 40;

// |sum| of k products of standard normals and its roundings: each of k + 4 is at most 2^-24 of a partial sum, which is
// below 8 sqrt(k) here; then one rounding to the type of the result.
double bound(double expected, cudaDataType_t type) {
  return (k + 4) * 0x1p-24 * 8 * std::sqrt(k) + unit_of(type) * std::abs(expected);
}

TEST_F(Products, EveryTransposeTypeAndAlgorithm) {
  for (const Types types : all_types) {
    for (const bool transpose_a : {false, true}) {
      for (const bool transpose_b : {false, true}) {
        const Matrix a(types.in, transpose_a ? k : m, transpose_a ? m : k, 48, 1);
        const Matrix b(types.in, transpose_b ? n : k, transpose_b ? k : n, 48, 2);
        const Description description(CUBLASLT_EPILOGUE_DEFAULT, transpose_a, transpose_b);
        const Matrix before(types.out, m, n, 32, 3);
        const auto all = algorithms(description, a, b, before);
        ASSERT_EQ(all.size(), 3u);
        for (const auto& one : all) {
          const Matrix d(types.out, m, n, 32, 3);
          ASSERT_EQ(multiply(description, a, b, d, 1.0f, 0.5f, &one.algo), CUBLAS_STATUS_SUCCESS);
          const auto x = a.values(transpose_a), y = b.values(transpose_b), old = before.values(), result = d.values();
          for (int i = 0; i < m; ++i) {
            for (int j = 0; j < n; ++j) {
              double expected = old(i, j);
              for (int l = 0; l < k; ++l) expected += 0.5 * x(i, l) * y(l, j);
              ASSERT_NEAR(result(i, j), expected, bound(expected, types.out)) << i << ", " << j;
            }
          }
        }
      }
    }
  }
}

double gelu(double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }

TEST_F(Products, BiasAndGeluKeepTheirInput) {
  for (const Types types : all_types) {
    const Matrix a(types.in, m, k, m, 1), b(types.in, k, n, k, 2), bias(types.out, m, 1, m, 3);
    for (const auto epilogue : {CUBLASLT_EPILOGUE_BIAS, CUBLASLT_EPILOGUE_GELU, CUBLASLT_EPILOGUE_GELU_BIAS,
                                CUBLASLT_EPILOGUE_GELU_AUX, CUBLASLT_EPILOGUE_GELU_AUX_BIAS}) {
      const Matrix d(types.out, m, n, m), auxiliary(types.out, m, n, 32);
      Description description(epilogue);
      description.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias.data());
      description.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, auxiliary.data());
      description.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, std::int64_t{32});
      ASSERT_EQ(multiply(description, a, b, d), CUBLAS_STATUS_SUCCESS);
      const auto x = a.values(), y = b.values(), added = bias.values(), kept = auxiliary.values(), result = d.values();
      for (int i = 0; i < m; ++i) {
        for (int j = 0; j < n; ++j) {
          double sum = (epilogue & CUBLASLT_EPILOGUE_BIAS) != 0 ? added(i, 0) : 0.0;
          for (int l = 0; l < k; ++l) sum += x(i, l) * y(l, j);
          if ((epilogue & 128) != 0) {
            ASSERT_NEAR(kept(i, j), sum, bound(sum, types.out));
          } else {
            ASSERT_TRUE(std::isnan(kept(i, j)));
          }
          // The slope of GELU is below 1.13.
          const double expected = (epilogue & CUBLASLT_EPILOGUE_GELU) != 0 ? gelu(sum) : sum;
          ASSERT_NEAR(result(i, j), expected, 1.13 * bound(sum, types.out));
        }
      }
    }
  }
}

TEST_F(Products, GeluGradientAndItsBiasGradient) {
  for (const Types types : all_types) {
    const Matrix a(types.in, m, k, m, 1), b(types.in, k, n, k, 2), pre(types.out, m, n, 32, 3);
    for (const auto epilogue : {CUBLASLT_EPILOGUE_DGELU, CUBLASLT_EPILOGUE_DGELU_BGRAD}) {
      const Matrix d(types.out, m, n, m), sums(types.out, m, 1, m);
      Description description(epilogue);
      description.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, sums.data());
      description.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, pre.data());
      description.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, std::int64_t{32});
      ASSERT_EQ(multiply(description, a, b, d), CUBLAS_STATUS_SUCCESS);
      const auto x = a.values(), y = b.values(), at = pre.values(), bias = sums.values(), result = d.values();
      for (int i = 0; i < m; ++i) {
        double row = 0, row_bound = 0;
        for (int j = 0; j < n; ++j) {
          double sum = 0;
          for (int l = 0; l < k; ++l) sum += x(i, l) * y(l, j);
          const double slope = (gelu(at(i, j) + 1e-6) - gelu(at(i, j) - 1e-6)) / 2e-6;
          ASSERT_NEAR(result(i, j), sum * slope, 1.13 * bound(sum, types.out) + 1e-8 * std::abs(sum));
          row += sum * slope;
          row_bound += 2 * 1.13 * bound(sum, CUDA_R_32F) + 1e-8 * std::abs(sum) + n * 0x1p-24 * std::abs(sum);
        }
        if (epilogue == CUBLASLT_EPILOGUE_DGELU_BGRAD) {
          ASSERT_NEAR(bias(i, 0), row, row_bound + unit_of(types.out) * std::abs(row));
        }
      }
    }
  }
}

TEST_F(Products, BiasGradientsOfBothFactors) {
  for (const Types types : all_types) {
    for (const bool transpose : {false, true}) {
      const Matrix a(types.in, transpose ? k : m, transpose ? m : k, 48, 1);
      const Matrix b(types.in, transpose ? n : k, transpose ? k : n, 48, 2);
      for (const bool of_a : {true, false}) {
        const int length = of_a ? m : n;
        const Matrix d(types.out, m, n, m), sums(types.out, length, 1, length);
        Description description(of_a ? CUBLASLT_EPILOGUE_BGRADA : CUBLASLT_EPILOGUE_BGRADB, transpose, transpose);
        description.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, sums.data());
        ASSERT_EQ(multiply(description, a, b, d), CUBLAS_STATUS_SUCCESS);
        const auto x = a.values(transpose), y = b.values(transpose), gradient = sums.values();
        for (int i = 0; i < length; ++i) {
          double expected = 0;
          for (int l = 0; l < k; ++l) expected += of_a ? x(i, l) : y(l, i);
          ASSERT_NEAR(gradient(i, 0), expected, bound(expected, types.out));
        }
      }
    }
  }
}

TEST_F(Products, Tf32RoundsTheFactorsToTenBits) {
  const Matrix a(CUDA_R_32F, m, k, m, 1), b(CUDA_R_32F, k, n, k, 2), d(CUDA_R_32F, m, n, m);
  const Description description(CUBLASLT_EPILOGUE_DEFAULT, false, false, CUBLAS_COMPUTE_32F_FAST_TF32);
  ASSERT_EQ(multiply(description, a, b, d), CUBLAS_STATUS_SUCCESS);
  const auto x = a.values(), y = b.values(), result = d.values();
  double largest = 0;
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < n; ++j) {
      double sum = 0, parts = 0;
      for (int l = 0; l < k; ++l) {
        sum += x(i, l) * y(l, j);
        parts += std::abs(x(i, l) * y(l, j));
      }
      ASSERT_NEAR(result(i, j), sum, 2.01 * 0x1p-11 * parts);
      largest = std::max(largest, std::abs(result(i, j) - sum) / parts);
    }
  }
  EXPECT_GT(largest, 0x1p-16);  // FP32 would be closer
}

TEST_F(Products, AlgorithmsDifferInBitsAndAreRepeatable) {
  const Matrix a(CUDA_R_32F, m, k * 8, m, 1), b(CUDA_R_32F, k * 8, n, k * 8, 2);
  const Description description(CUBLASLT_EPILOGUE_DEFAULT);
  const auto bits = [&](const cublasLtMatmulAlgo_t& algorithm) {
    const Matrix d(CUDA_R_32F, m, n, m);
    EXPECT_EQ(multiply(description, a, b, d, 0, 1, &algorithm), CUBLAS_STATUS_SUCCESS);
    std::vector<double> all;
    const auto result = d.values();
    for (int i = 0; i < m * n; ++i) all.push_back(result(i % m, i / m));
    return all;
  };
  const Matrix d(CUDA_R_32F, m, n, m);
  const auto all = algorithms(description, a, b, d);
  ASSERT_EQ(all.size(), 3u);
  EXPECT_NE(bits(all[0].algo), bits(all[1].algo));
  EXPECT_NE(bits(all[0].algo), bits(all[2].algo));
  for (const auto& one : all) EXPECT_EQ(bits(one.algo), bits(one.algo));
}

TEST_F(Products, PreferencesFilterTheAlgorithms) {
  const Matrix a(CUDA_R_16BF, m, k, m, 1), b(CUDA_R_16BF, k, n, k, 2), d(CUDA_R_16BF, m, n, m);
  const Description description(CUBLASLT_EPILOGUE_DEFAULT);
  EXPECT_EQ(algorithms(description, a, b, d).size(), 3u);
  EXPECT_EQ(algorithms(description, a, b, d, 0).size(), 2u);  // no room for the sums of a split k
  EXPECT_EQ(algorithms(description, a, b, d, 1 << 20, CUBLASLT_REDUCTION_SCHEME_NONE).size(), 2u);
  std::int32_t splits = 0;
  std::size_t written = 0;
  const auto split = algorithms(description, a, b, d)[2];
  EXPECT_EQ(split.workspaceSize, static_cast<std::size_t>(2 * m * n * 4));
  EXPECT_EQ(cublasLtMatmulAlgoConfigGetAttribute(&split.algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &splits, 4, &written),
            CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(splits, 2);
  // Leading dimensions that are no multiple of 16 bytes leave one.
  const Matrix odd_a(CUDA_R_16BF, 23, k, 23, 1), odd_d(CUDA_R_16BF, 23, n, 23);
  EXPECT_EQ(algorithms(description, odd_a, b, odd_d).size(), 1u);
}

TEST_F(Products, WhatCublasLtDoesNotHaveIsNotSupported) {
  const PretendedGpuScope scope;
  const Matrix a(CUDA_R_16BF, m, k, m, 1), b(CUDA_R_16BF, k, n, k, 2), d(CUDA_R_16BF, m, n, m);
  Description description(CUBLASLT_EPILOGUE_GELU_AUX_BIAS);
  description.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, std::int64_t{m});
  EXPECT_EQ(algorithms(description, a, b, d).size(), 3u);
  pretended_gpu().epilogues_without_algorithm = {CUBLASLT_EPILOGUE_GELU_AUX_BIAS};
  EXPECT_TRUE(algorithms(description, a, b, d).empty());
  EXPECT_EQ(status_, CUBLAS_STATUS_NOT_SUPPORTED);
  pretended_gpu().epilogues_without_algorithm.clear();
  description.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, std::int64_t{m + 1});  // a multiple of 8 is demanded
  EXPECT_TRUE(algorithms(description, a, b, d).empty());
  const Matrix half(CUDA_R_16F, k, n, k, 2);
  EXPECT_TRUE(algorithms(Description(CUBLASLT_EPILOGUE_DEFAULT), a, half, d).empty());
  EXPECT_TRUE(algorithms(Description(CUBLASLT_EPILOGUE_DEFAULT, true), a, b, d).empty());
  EXPECT_EQ(status_, CUBLAS_STATUS_INVALID_VALUE);
}

TEST_F(Products, AlgorithmOfAnotherLibraryIsRejected) {
  const Matrix a(CUDA_R_16BF, m, k, m, 1), b(CUDA_R_16BF, k, n, k, 2), d(CUDA_R_16BF, m, n, m);
  const Description description(CUBLASLT_EPILOGUE_DEFAULT);
  const cublasLtMatmulAlgo_t foreign = {{1, 2, 3, 4, 5, 6, 7, 8}};
  cublasLtMatmulHeuristicResult_t result{};
  EXPECT_EQ(cublasLtMatmulAlgoCheck(handle_, description.handle, a.layout(), b.layout(), d.layout(), d.layout(),
                                    &foreign, &result),
            CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(multiply(description, a, b, d, 0, 1, &foreign), CUBLAS_STATUS_INVALID_VALUE);
}

TEST_F(Products, ProductIsWorkOfItsStreamAndOfACapture) {
  const Matrix a(CUDA_R_32F, m, k, m, 1), b(CUDA_R_32F, k, n, k, 2), d(CUDA_R_32F, m, n, m);
  const Description description(CUBLASLT_EPILOGUE_DEFAULT);
  cudaStream_t stream = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  ASSERT_EQ(multiply(description, a, b, d, 0, 1, nullptr, stream), CUBLAS_STATUS_SUCCESS);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph), cudaSuccess);
  EXPECT_TRUE(std::isnan(d.values()(0, 0)));
  ASSERT_EQ(cudaGraphLaunch(executable, stream), cudaSuccess);
  EXPECT_TRUE(std::isnan(d.values()(0, 0)));  // nobody has waited for the stream
  ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_FALSE(std::isnan(d.values()(0, 0)));
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(cudaGraphExecDestroy(executable), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
}

TEST_F(Products, MatrixBeyondItsAllocationIsTold) {
  const Matrix a(CUDA_R_32F, m, k, m, 1), b(CUDA_R_32F, k, n, k, 2), d(CUDA_R_32F, m, n, m);
  const Description description(CUBLASLT_EPILOGUE_DEFAULT);
  const float alpha = 1, beta = 0;
  std::vector<float> host(m * n);
  EXPECT_THROW(
      (void)cublasLtMatmul(handle_, description.handle, &alpha, a.data(), a.layout(), b.data(), b.layout(), &beta,
                           host.data(), d.layout(), host.data(), d.layout(), nullptr, nullptr, 0, nullptr),
      std::logic_error);
}

}  // namespace
}  // namespace nll::cuda_on_host
