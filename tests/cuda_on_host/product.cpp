#include "tests/cuda_on_host/product.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "tests/cuda_on_host/number_types.h"

namespace nll::cuda_on_host {
namespace {

// The innermost loop works on checked copies; instrumented it would take most of the time of a test.
#define NLL_NOT_INSTRUMENTED __attribute__((no_sanitize("address", "undefined")))

float load(const void* data, cudaDataType_t type, std::int64_t i) {
  if (type == CUDA_R_32F) return static_cast<const float*>(data)[i];
  const std::uint16_t bits = static_cast<const std::uint16_t*>(data)[i];
  return type == CUDA_R_16F ? half_value(bits) : bfloat16_value(bits);
}

void store(void* data, cudaDataType_t type, std::int64_t i, float value) {
  if (type == CUDA_R_32F) {
    static_cast<float*>(data)[i] = value;
  } else {
    static_cast<std::uint16_t*>(data)[i] = type == CUDA_R_16F ? half_bits(value) : bfloat16_bits(value);
  }
}

// 10 bits of mantissa, to nearest, ties away from zero.
float tf32(float x) {
  if (!std::isfinite(x)) return x;
  return std::bit_cast<float>((std::bit_cast<std::uint32_t>(x) + 0x1000u) & ~0x1fffu);
}

// The matrix as (slow, fast): element (s, f) is stored at row f and column s, or the other way round.
std::vector<float> copied(const ProductMatrix& from, bool fast_is_row, bool round_to_tf32) {
  std::vector<float> copy(static_cast<std::size_t>(from.rows * from.columns));
  for (std::int64_t column = 0; column < from.columns; ++column) {
    for (std::int64_t row = 0; row < from.rows; ++row) {
      const float x = load(from.data, from.type, row + column * from.leading);
      const std::int64_t at = fast_is_row ? column * from.rows + row : row * from.columns + column;
      copy[static_cast<std::size_t>(at)] = round_to_tf32 ? tf32(x) : x;
    }
  }
  return copy;
}

// sums (n,m) += b (n,k) a (k,m) over [begin, end) of k; four columns of the result at a time.
NLL_NOT_INSTRUMENTED void accumulate(float* sums, const float* a, const float* b, std::int64_t m, std::int64_t n,
                                     std::int64_t k, std::int64_t begin, std::int64_t end) {
  constexpr std::int64_t tile = 1024;  // rows whose four sums and factor stay in the first cache
  for (std::int64_t first = 0; first < m; first += tile) {
    const std::int64_t last = first + tile < m ? first + tile : m;
    std::int64_t j = 0;
    for (; j + 4 <= n; j += 4) {
      float* __restrict__ s0 = sums + j * m;
      float* __restrict__ s1 = s0 + m;
      float* __restrict__ s2 = s1 + m;
      float* __restrict__ s3 = s2 + m;
      for (std::int64_t l = begin; l < end; ++l) {
        const float* __restrict__ row = a + l * m;
        const float b0 = b[j * k + l], b1 = b[(j + 1) * k + l], b2 = b[(j + 2) * k + l], b3 = b[(j + 3) * k + l];
        for (std::int64_t i = first; i < last; ++i) {
          s0[i] += row[i] * b0;
          s1[i] += row[i] * b1;
          s2[i] += row[i] * b2;
          s3[i] += row[i] * b3;
        }
      }
    }
    for (; j < n; ++j) {
      float* __restrict__ s = sums + j * m;
      for (std::int64_t l = begin; l < end; ++l) {
        const float* __restrict__ row = a + l * m;
        const float factor = b[j * k + l];
        for (std::int64_t i = first; i < last; ++i) s[i] += row[i] * factor;
      }
    }
  }
}

NLL_NOT_INSTRUMENTED void add(float* to, const float* from, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] += from[i];
}

// [begin, end) of k in chunks.
void accumulate_chunks(std::vector<float>& sums, const float* a, const float* b, std::int64_t m, std::int64_t n,
                       std::int64_t k, std::int64_t begin, std::int64_t end, std::int64_t chunk) {
  if (chunk == 0) {
    accumulate(sums.data(), a, b, m, n, k, begin, end);
    return;
  }
  std::vector<float> partial(sums.size());
  for (std::int64_t at = begin; at < end; at += chunk) {
    std::fill(partial.begin(), partial.end(), 0.0f);
    accumulate(partial.data(), a, b, m, n, k, at, std::min(at + chunk, end));
    add(sums.data(), partial.data(), m * n);
  }
}

constexpr double root_2_over_pi = 0.7978845608028654, cubic = 0.044715;

float gelu(float x) {
  const double inner = root_2_over_pi * (x + cubic * static_cast<double>(x) * x * x);
  return static_cast<float>(0.5 * x * (1 + std::tanh(inner)));
}

float gelu_gradient(float x) {
  const double t = std::tanh(root_2_over_pi * (x + cubic * static_cast<double>(x) * x * x));
  const double inner_gradient = root_2_over_pi * (1 + 3 * cubic * static_cast<double>(x) * x);
  return static_cast<float>(0.5 * (1 + t) + 0.5 * x * (1 - t * t) * inner_gradient);
}

bool has(cublasLtEpilogue_t epilogue, int part) { return (static_cast<int>(epilogue) & part) != 0; }

}  // namespace

std::int64_t bytes_of(cudaDataType_t type) { return type == CUDA_R_64F ? 8 : type == CUDA_R_32F ? 4 : 2; }

void multiply(const ProductCall& call) {
  const std::int64_t m = call.d.rows, n = call.d.columns, k = call.transpose_a ? call.a.rows : call.a.columns;
  const std::vector<float> a = copied(call.a, !call.transpose_a, call.tf32);  // (k,m)
  const std::vector<float> b = copied(call.b, !call.transpose_b, call.tf32);  // (n,k)
  std::vector<float> sums(static_cast<std::size_t>(m * n));
  const std::int64_t part = (k + call.order.splits - 1) / call.order.splits;
  accumulate_chunks(sums, a.data(), b.data(), m, n, k, 0, std::min(part, k), call.order.chunk);
  for (int split = 1; split < call.order.splits; ++split) {
    std::vector<float> other(sums.size());
    accumulate_chunks(other, a.data(), b.data(), m, n, k, std::min(split * part, k), std::min((split + 1) * part, k),
                      call.order.chunk);
    add(sums.data(), other.data(), m * n);
  }

  const cudaDataType_t type = call.d.type;
  const bool bias_is_added = has(call.epilogue, CUBLASLT_EPILOGUE_BIAS);
  const bool gelu_is_taken = has(call.epilogue, CUBLASLT_EPILOGUE_GELU), backward = has(call.epilogue, 64);
  const bool sums_rows = has(call.epilogue, 16);
  std::vector<float> row_sums(sums_rows ? static_cast<std::size_t>(m) : 0);
  for (std::int64_t j = 0; j < n; ++j) {
    for (std::int64_t i = 0; i < m; ++i) {
      float value = call.alpha * sums[static_cast<std::size_t>(j * m + i)];
      if (call.beta != 0) value += call.beta * load(call.c.data, call.c.type, i + j * call.c.leading);
      if (bias_is_added) value += load(call.bias, type, i);
      const std::int64_t at = i + j * call.auxiliary_leading;
      if (backward) value *= gelu_gradient(load(call.auxiliary, type, at));
      if (gelu_is_taken) {
        if (has(call.epilogue, 128)) store(call.auxiliary, type, at, value);
        value = gelu(value);
      }
      if (sums_rows) row_sums[static_cast<std::size_t>(i)] += value;
      store(call.d.data, type, i + j * call.d.leading, value);
    }
  }
  for (std::size_t i = 0; i < row_sums.size(); ++i) store(call.bias, type, static_cast<std::int64_t>(i), row_sums[i]);
  if (has(call.epilogue, CUBLASLT_EPILOGUE_BGRADA)) {
    for (std::int64_t i = 0; i < m; ++i) {
      float sum = 0;
      for (std::int64_t l = 0; l < k; ++l) sum += a[static_cast<std::size_t>(l * m + i)];
      store(call.bias, type, i, sum);
    }
  }
  if (has(call.epilogue, CUBLASLT_EPILOGUE_BGRADB)) {
    for (std::int64_t j = 0; j < n; ++j) {
      float sum = 0;
      for (std::int64_t l = 0; l < k; ++l) sum += b[static_cast<std::size_t>(j * k + l)];
      store(call.bias, type, j, sum);
    }
  }
}

}  // namespace nll::cuda_on_host
