// Rows of elementwise work, sums of columns, and dropout factors.
#pragma once
#include "kernels/cpu/rows/math.h"

namespace nll::cpu {
namespace {

void exponential_row(float* y, const float* x, std::int64_t n) {
  for_vectors(n, [&](auto at) NLL_BODY { at.put(y, exponential(at.get(x))); });
}
void hyperbolic_tangent_row(float* y, const float* x, std::int64_t n) {
  for_vectors(n, [&](auto at) NLL_BODY { at.put(y, hyperbolic_tangent(at.get(x))); });
}
void add_row(float* y, const float* a, const float* b, std::int64_t n) {
  for_vectors(n, [&](auto at) NLL_BODY { at.put(y, at.get(a) + at.get(b)); });
}
void bias_gelu_row(float* y, float* pre, const float* bias, std::int64_t n) {
  for_vectors(n, [&](auto at) NLL_BODY {
    Floats x = at.get(pre);
    if (bias != nullptr) {
      x = x + at.get(bias);
      at.put(pre, x);
    }
    at.put(y, gelu(x));
  });
}
void gelu_backward_row(float* dpre, const float* dy, const float* pre, std::int64_t n) {
  for_vectors(n, [&](auto at) NLL_BODY { at.put(dpre, at.get(dy) * gelu_derivative(at.get(pre))); });
}
void multiply_row(float* y, const float* a, const float* b, std::int64_t n, bool accumulate) {
  if (accumulate) {
    for_vectors(n, [&](auto at) NLL_BODY { at.put(y, at.get(y) + at.get(a) * at.get(b)); });
  } else {
    for_vectors(n, [&](auto at) NLL_BODY { at.put(y, at.get(a) * at.get(b)); });
  }
}

// Philox4x32-10 (kernels/philox.h) for blocks first..first + 15, words of one block side by side.
constexpr int philox_lanes = 16;
NLL_INLINE void philox_blocks(std::uint32_t* words, std::uint64_t first, std::uint64_t seed, std::uint64_t stream) {
  std::uint32_t c0[philox_lanes], c1[philox_lanes], c2[philox_lanes], c3[philox_lanes];
  for (int i = 0; i < philox_lanes; ++i) {
    const std::uint64_t index = first + static_cast<std::uint64_t>(i);
    c0[i] = static_cast<std::uint32_t>(index);
    c1[i] = static_cast<std::uint32_t>(index >> 32);
    c2[i] = static_cast<std::uint32_t>(stream);
    c3[i] = static_cast<std::uint32_t>(stream >> 32);
  }
  std::uint32_t key0 = static_cast<std::uint32_t>(seed), key1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < philox_lanes; ++i) {
      const std::uint64_t product0 = std::uint64_t{0xD2511F53u} * c0[i];
      const std::uint64_t product1 = std::uint64_t{0xCD9E8D57u} * c2[i];
      c0[i] = static_cast<std::uint32_t>(product1 >> 32) ^ c1[i] ^ key0;
      c2[i] = static_cast<std::uint32_t>(product0 >> 32) ^ c3[i] ^ key1;
      c1[i] = static_cast<std::uint32_t>(product1);
      c3[i] = static_cast<std::uint32_t>(product0);
    }
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  for (int i = 0; i < philox_lanes; ++i) {
    words[4 * i] = c0[i];
    words[4 * i + 1] = c1[i];
    words[4 * i + 2] = c2[i];
    words[4 * i + 3] = c3[i];
  }
}

void dropout_factors(float* factor, std::int64_t n, std::uint64_t first_word, float rate, std::uint64_t seed,
                     std::uint64_t stream) {
  constexpr std::int64_t chunk = 4 * philox_lanes;
  const float scale = 1.0f / (1.0f - rate);
  const std::int64_t skip = static_cast<std::int64_t>(first_word % 4);  // words of the first block before ours
  for (std::int64_t begin = -skip; begin < n; begin += chunk) {
    std::uint32_t words[chunk];
    philox_blocks(words, (first_word + static_cast<std::uint64_t>(begin + skip)) / 4, seed, stream);
    const std::int64_t from = begin < 0 ? -begin : 0;
    const std::int64_t to = begin + chunk <= n ? chunk : n - begin;
    for (std::int64_t i = from; i < to; ++i) {
      const float unit = static_cast<float>(words[i] >> 8) * 0x1p-24f;
      factor[begin + i] = unit >= rate ? scale : 0.0f;
    }
  }
}

// Sums of at most `group` rows first, so that the error grows with the number of groups and not of rows.
void column_sums(float* sum, const float* x, std::int64_t rows, std::int64_t n, std::int64_t x_stride,
                 bool accumulate) {
  constexpr std::int64_t group = 128;
  const auto add_columns = [&](auto at) NLL_BODY {
    Floats total = accumulate ? at.get(sum) : Floats{};
    for (std::int64_t begin = 0; begin < rows; begin += group) {
      const std::int64_t end = begin + group < rows ? begin + group : rows;
      Floats part{};
      for (std::int64_t row = begin; row < end; ++row) part += at.get(x + row * x_stride);
      total += part;
    }
    at.put(sum, total);
  };
  // Four vectors side by side use whole cache lines of each row they touch.
  std::int64_t column = 0;
  for (; column + 4 * width <= n; column += 4 * width) {
    Floats total[4];
    for (int i = 0; i < 4; ++i) total[i] = accumulate ? load(sum + column + i * width) : Floats{};
    for (std::int64_t begin = 0; begin < rows; begin += group) {
      const std::int64_t end = begin + group < rows ? begin + group : rows;
      Floats part[4] = {};
      for (std::int64_t row = begin; row < end; ++row) {
        for (int i = 0; i < 4; ++i) part[i] += load(x + row * x_stride + column + i * width);
      }
      for (int i = 0; i < 4; ++i) total[i] += part[i];
    }
    for (int i = 0; i < 4; ++i) store(sum + column + i * width, total[i]);
  }
  for (; column + width <= n; column += width) add_columns(Whole{column});
  if (column < n) add_columns(Part{column, n - column});
}

}  // namespace
}  // namespace nll::cpu
