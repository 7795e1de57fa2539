// The packed matrix product of each instruction set against sums in FP64, and against itself under other cuts.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>

#include "kernels/cpu/gemm.h"
#include "tests/kernels/machine.h"

namespace nll::test {
namespace {

using cpu::Block;
using cpu::Gemm;
using cpu::Product;
using cpu::RowKernels;

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr Product products[] = {Product::nn, Product::nt, Product::tn};

void with_each_packed_product(const std::function<void(const RowKernels&)>& body) {
  int count = 0;
  const char* const* names = cpu::supported_instructions(&count);
  for (int i = 0; i < count; ++i) {
    const RowKernels& rows = *cpu::row_kernels(names[i]);
    SCOPED_TRACE(names[i]);
    if (rows.product != nullptr) body(rows);
  }
}

// Operands in rows that are longer than their content; what lies between is NaN.
struct Operands {
  Gemm gemm;
  std::vector<float> a, b, c, bias;

  static std::vector<float> matrix(std::int64_t rows, std::int64_t columns, std::int64_t stride, Random& random) {
    std::vector<float> values(static_cast<std::size_t>(rows * stride), nan);
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t j = 0; j < columns; ++j) values[static_cast<std::size_t>(i * stride + j)] = float_of(random);
    }
    return values;
  }
  static float float_of(Random& random) { return static_cast<float>(random.normal()); }

  Operands(Product product, std::int64_t m, std::int64_t n, std::int64_t k, float beta, Random& random) {
    const bool a_turned = product == Product::tn, b_turned = product == Product::nt;
    const std::int64_t a_stride = (a_turned ? m : k) + 3, b_stride = (b_turned ? k : n) + 5, c_stride = n + 7;
    a = matrix(a_turned ? k : m, a_turned ? m : k, a_stride, random);
    b = matrix(b_turned ? n : k, b_turned ? k : n, b_stride, random);
    c = beta == 0 ? std::vector<float>(static_cast<std::size_t>(m * c_stride), nan) : matrix(m, n, c_stride, random);
    for (std::int64_t j = 0; j < n; ++j) bias.push_back(float_of(random));
    gemm = {product, m, n, k, a.data(), a_stride, b.data(), b_stride, c.data(), c_stride, beta};
  }

  // The product into a copy of c, block by block.
  std::vector<float> computed(const RowKernels& rows, const std::vector<Block>& blocks, bool with_bias) const {
    struct Free {
      void operator()(float* memory) const { std::free(memory); }
    };
    const auto bytes = static_cast<std::size_t>((rows.product_scratch * 4 + 63) / 64 * 64);
    const std::unique_ptr<float, Free> scratch(static_cast<float*>(std::aligned_alloc(64, bytes)));
    std::vector<float> result = c;
    for (const Block& block : blocks) {
      cpu::multiply_packed_block(gemm, rows, block,
                                 result.data() + block.rows.begin * gemm.c_stride + block.columns.begin, gemm.c_stride,
                                 with_bias ? bias.data() : nullptr, scratch.get());
    }
    return result;
  }
  std::vector<float> computed(const RowKernels& rows, bool with_bias) const {
    return computed(rows, {{{0, gemm.m}, {0, gemm.n}}}, with_bias);
  }
};

// A sum of k products, then beta c, then the bias: at most k + 2 roundings on the way of any term, whatever the order.
void expect_product(const RowKernels& rows, const Operands& o, bool with_bias) {
  const Gemm& g = o.gemm;
  const std::vector<float> actual = o.computed(rows, with_bias);
  const auto at = [](const std::vector<float>& matrix, std::int64_t stride, std::int64_t i, std::int64_t j) {
    return static_cast<double>(matrix[static_cast<std::size_t>(i * stride + j)]);
  };
  for (std::int64_t i = 0; i < g.m; ++i) {
    for (std::int64_t j = 0; j < g.c_stride; ++j) {
      const double found = at(actual, g.c_stride, i, j);
      if (j >= g.n) {
        ASSERT_TRUE(std::isnan(found)) << "written beside c, at " << i << ", " << j;
        continue;
      }
      double sum = with_bias ? static_cast<double>(o.bias[static_cast<std::size_t>(j)]) : 0, size = std::abs(sum);
      const auto add = [&](double term) {
        sum += term;
        size += std::abs(term);
      };
      if (g.beta != 0) add(static_cast<double>(g.beta) * at(o.c, g.c_stride, i, j));
      for (std::int64_t l = 0; l < g.k; ++l) {
        add((g.product == Product::tn ? at(o.a, g.a_stride, l, i) : at(o.a, g.a_stride, i, l)) *
            (g.product == Product::nt ? at(o.b, g.b_stride, j, l) : at(o.b, g.b_stride, l, j)));
      }
      const double bound = epsilon * static_cast<double>(g.k + 2) * size;
      ASSERT_TRUE(std::abs(found - sum) <= bound)
          << "product " << static_cast<int>(g.product) << ", m " << g.m << ", n " << g.n << ", k " << g.k << ", beta "
          << g.beta << ": element " << i << ", " << j << " is " << found << ", expected " << sum;
    }
  }
}

TEST(PackedProduct, EqualsItsFormulaForEveryRemainderOfTheTile) {
  with_each_packed_product([](const RowKernels& rows) {
    Random random(1);
    for (std::int64_t m = 1; m <= rows.product_rows + 1; ++m) {
      for (std::int64_t n = 1; n <= rows.product_columns + 1; ++n) {
        for (const Product product : products) {
          const std::int64_t k = 1 + (m + n) % 9;
          expect_product(rows, Operands(product, m, n, k, 0, random), false);
        }
      }
    }
  });
}

TEST(PackedProduct, EqualsItsFormulaForEveryDepth) {
  with_each_packed_product([](const RowKernels& rows) {
    Random random(2);
    for (const std::int64_t k : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 255, 256, 257, 511, 512, 515, 771}) {
      for (const Product product : products) {
        for (const float beta : {0.0f, 1.0f, -0.5f}) {
          expect_product(rows, Operands(product, 2 * rows.product_rows + 3, rows.product_columns + 5, k, beta, random),
                         k % 2 == 0);
        }
      }
    }
  });
}

TEST(PackedProduct, EqualsItsFormulaBeyondOneBlockOfRowsAndOneChunkOfDepth) {
  with_each_packed_product([](const RowKernels& rows) {
    Random random(3);
    for (const Product product : products) {
      expect_product(rows, Operands(product, 1130, 3, 263, 1, random), true);
      expect_product(rows, Operands(product, 520, 3, 1290, 0, random), true);
    }
  });
}

TEST(PackedProduct, HasTheSameBitsHoweverItIsCut) {
  with_each_packed_product([](const RowKernels& rows) {
    Random random(4);
    for (const Product product : products) {
      for (const float beta : {0.0f, 1.0f}) {
        const Operands o(product, 1101, 83, 601, beta, random);
        const std::vector<float> whole = o.computed(rows, true);
        std::vector<Block> odd;
        for (const auto& [row, next_row] :
             {std::pair{0, 1}, std::pair{1, 18}, std::pair{18, 777}, std::pair{777, 1101}}) {
          for (const auto& [column, next] : {std::pair{0, 7}, std::pair{7, 24}, std::pair{24, 83}}) {
            odd.push_back({{row, next_row}, {column, next}});
          }
        }
        const std::vector<float> cut = o.computed(rows, odd, true);
        EXPECT_EQ(std::memcmp(whole.data(), cut.data(), whole.size() * sizeof(float)), 0);
        for (const int threads : {2, 3, 8}) {
          std::vector<Block> blocks;
          std::int64_t covered = 0;
          for (int thread = 0; thread < threads; ++thread) {
            blocks.push_back(cpu::packed_block_of(o.gemm, rows, thread, threads));
            covered += blocks.back().rows.size() * blocks.back().columns.size();
          }
          EXPECT_EQ(covered, o.gemm.m * o.gemm.n);
          const std::vector<float> dealt = o.computed(rows, blocks, true);
          EXPECT_EQ(std::memcmp(whole.data(), dealt.data(), whole.size() * sizeof(float)), 0) << threads << " threads";
        }
      }
    }
  });
}

TEST(PackedProduct, IsLeftToTheLibraryWhereThereAreNoSuchInstructions) {
  EXPECT_EQ(cpu::row_kernels("generic")->product, nullptr);
  EXPECT_FALSE(cpu::is_packed({Product::nn, 256, 256, 256}, *cpu::row_kernels("generic")));
}

}  // namespace
}  // namespace nll::test
