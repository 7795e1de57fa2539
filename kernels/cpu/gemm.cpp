#include "kernels/cpu/gemm.h"

#include <cblas.h>

#include <algorithm>
#include <climits>
#include <cstring>

#include "kernels/check.h"

namespace nll::cpu {
namespace {

// Multiples of every tile OpenBLAS uses for FP32 on x86-64 and ARM (4..24 rows of c, 8..64 columns).
constexpr std::int64_t blas_row_unit = 24, blas_column_unit = 64;

// Sizes of the largest and (a lower bound of) the smallest part that part_of makes.
std::int64_t largest_part(std::int64_t count, std::int64_t unit, int parts) {
  const std::int64_t units = (count + unit - 1) / unit;
  return std::min(count, (units + parts - 1) / parts * unit);
}
std::int64_t smallest_part(std::int64_t count, std::int64_t unit, int parts) {
  const std::int64_t units = (count + unit - 1) / unit;
  return parts == 1 ? count : units / parts * unit - (units * unit - count);
}

int integer(std::int64_t value) {
  CHECK(value <= INT_MAX);
  return static_cast<int>(value);
}

// How a product may be cut.
struct Cut {
  std::int64_t row_unit, column_unit;
  double least_block;  // multiply-adds
  std::int64_t least_side;
};

Block cut_block(const Gemm& gemm, const Cut& cut, int thread, int threads) {
  // Time of the slowest thread for each grid: its products, and what it packs (a and b once each). The weight says how
  // many multiply-adds cost as much as packing one element.
  constexpr double packing_weight = 16;
  int best_rows = 1, best_columns = 1;
  double best_cost = -1;
  for (int grid_rows = 1; grid_rows <= threads; ++grid_rows) {
    for (int grid_columns = threads / grid_rows; grid_columns >= 1; --grid_columns) {
      const std::int64_t rows = smallest_part(gemm.m, cut.row_unit, grid_rows);
      const std::int64_t columns = smallest_part(gemm.n, cut.column_unit, grid_columns);
      const double volume = static_cast<double>(rows) * static_cast<double>(columns) * static_cast<double>(gemm.k);
      if (grid_rows > 1 && rows < cut.least_side) continue;
      if (grid_columns > 1 && columns < cut.least_side) continue;
      if (grid_rows * grid_columns > 1 && volume < cut.least_block) continue;
      const auto most_rows = static_cast<double>(largest_part(gemm.m, cut.row_unit, grid_rows));
      const auto most_columns = static_cast<double>(largest_part(gemm.n, cut.column_unit, grid_columns));
      const double cost = most_rows * most_columns + packing_weight * (most_rows + most_columns);
      if (best_cost < 0 || cost < best_cost) {
        best_cost = cost;
        best_rows = grid_rows;
        best_columns = grid_columns;
      }
      break;  // fewer columns of blocks cost more
    }
  }
  if (thread >= best_rows * best_columns) return {};
  return {part_of(gemm.m, cut.row_unit, thread / best_columns, best_rows),
          part_of(gemm.n, cut.column_unit, thread % best_columns, best_columns)};
}

}  // namespace

// The decision table. Rates of the packed product over OpenBLAS 0.3.21, one thread, weights from memory:
//   rows of c              AVX-512 (a Xeon)    AVX2 (the same, OpenBLAS' Haswell kernels)
//   256, GPT-2's widths    1.06 to 1.25        0.99 to 1.13
//   1024                   0.98 to 1.13        0.99 to 1.05
//   2 to 23, nt            1.5 to 2.6          1.5 to 2.0
//   2 to 23, nn            0.9 to 1.4          0.54 to 1.1     both wait for memory
// Products below 10^6 multiply-adds have OpenBLAS kernels that pack nothing and are up to 4 times as fast as this when
// their rows are few; a single row is a matrix times a vector.
bool is_packed(const Gemm& gemm, const RowKernels& rows) {
  constexpr std::int64_t few_rows = 24;
  constexpr double small = 1e6;
  if (rows.product == nullptr || gemm.k == 0) return false;
  if (gemm.m >= few_rows) return true;
  return gemm.product == Product::nt && gemm.m > 1 &&
         static_cast<double>(gemm.m) * static_cast<double>(gemm.n) * static_cast<double>(gemm.k) >= small;
}

Block block_of(const Gemm& gemm, int thread, int threads) {
  // OpenBLAS has other kernels for products below 10^6 multiply-adds and for single rows, which round differently: a
  // cut must not lead there. Below this a second thread gains nothing anyway.
  return cut_block(gemm, {blas_row_unit, blas_column_unit, gemm.m == 1 ? 1e5 : 2e6, 8}, thread, threads);
}

Block packed_block_of(const Gemm& gemm, const RowKernels& rows, int thread, int threads) {
  // Any cut gives the same bits; a thread is woken for no less than about 2 microseconds of work.
  return cut_block(gemm, {rows.product_rows, rows.product_columns, 2e5, 1}, thread, threads);
}

void multiply_packed_block(const Gemm& gemm, const RowKernels& rows, const Block& block, float* c,
                           std::int64_t c_stride, const float* bias, float* scratch) {
  if (block.empty()) return;
  ProductBlock p;
  p.rows = block.rows.size();
  p.columns = block.columns.size();
  p.depth = gemm.k;
  p.a_transposed = gemm.product == Product::tn;
  p.b_transposed = gemm.product == Product::nt;
  p.a = gemm.a + block.rows.begin * (p.a_transposed ? 1 : gemm.a_stride);
  p.b = gemm.b + block.columns.begin * (p.b_transposed ? gemm.b_stride : 1);
  p.a_stride = gemm.a_stride;
  p.b_stride = gemm.b_stride;
  p.c = c;
  p.c_stride = c_stride;
  p.beta = gemm.beta;
  p.bias = bias == nullptr ? nullptr : bias + block.columns.begin;
  rows.product(p, scratch);
}

void multiply_block(const Gemm& gemm, const Block& block, float* c, std::int64_t c_stride) {
  if (block.empty()) return;
  const std::int64_t rows = block.rows.size(), columns = block.columns.size();
  if (gemm.k == 0) {
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t j = 0; j < columns; ++j) {
        float& element = c[i * c_stride + j];
        element = gemm.beta == 0 ? 0 : gemm.beta * element;
      }
    }
    return;
  }
  const bool a_transposed = gemm.product == Product::tn, b_transposed = gemm.product == Product::nt;
  const float* a = gemm.a + block.rows.begin * (a_transposed ? 1 : gemm.a_stride);
  const float* b = gemm.b + block.columns.begin * (b_transposed ? gemm.b_stride : 1);
  if (gemm.m == 1 && !a_transposed) {
    // One row (decoding): packing b would cost more than the product. c is zeroed here since 0 * NaN may stay NaN
    // there.
    if (gemm.beta == 0) std::memset(c, 0, static_cast<std::size_t>(columns) * sizeof(float));
    cblas_sgemv(CblasRowMajor, b_transposed ? CblasNoTrans : CblasTrans, integer(b_transposed ? columns : gemm.k),
                integer(b_transposed ? gemm.k : columns), 1.0f, b, integer(gemm.b_stride), a, 1,
                gemm.beta == 0 ? 1.0f : gemm.beta, c, 1);
    return;
  }
  cblas_sgemm(CblasRowMajor, a_transposed ? CblasTrans : CblasNoTrans, b_transposed ? CblasTrans : CblasNoTrans,
              integer(rows), integer(columns), integer(gemm.k), 1.0f, a, integer(gemm.a_stride), b,
              integer(gemm.b_stride), gemm.beta, c, integer(c_stride));
}

void multiply_block(const Gemm& gemm, const Block& block) {
  multiply_block(gemm, block, gemm.c + block.rows.begin * gemm.c_stride + block.columns.begin, gemm.c_stride);
}

void use_one_thread_a_call() { openblas_set_num_threads(1); }

}  // namespace nll::cpu
