// The table of everything in this folder, for the instruction set that is compiled.
#pragma once
#include "kernels/cpu/rows/attention_backward.h"
#include "kernels/cpu/rows/dropout.h"
#include "kernels/cpu/rows/elementwise.h"
#include "kernels/cpu/rows/head.h"
#include "kernels/cpu/rows/norm.h"
#include "kernels/cpu/rows/product.h"
#include "kernels/cpu/rows/update.h"

namespace nll::cpu {
namespace {

constexpr RowKernels make_row_kernels(const char* instructions) {
  RowKernels table{};
  table.instructions = instructions;
  table.exponential = exponential_row;
  table.hyperbolic_tangent = hyperbolic_tangent_row;
  table.add = add_row;
  table.bias_gelu = bias_gelu_row;
  table.gelu_backward = gelu_backward_row;
  table.multiply = multiply_row;
  table.dropout_factors = dropout_factors;
  table.column_sums = column_sums;
#if defined(__AVX2__)
  table.product = multiply_packed;
  table.product_scratch = product_scratch;
  table.product_rows = tile_height;
  table.product_columns = tile_width;
#endif
  table.layernorm = layernorm_row;
  table.residual_layernorm = residual_layernorm_row;
  table.layernorm_backward = layernorm_backward_row;
  table.query_block = block;
  table.attention_scratch = attention_scratch;
  table.attention_backward_scratch = attention_backward_scratch;
  table.attention = attention_head;
  table.attention_backward = attention_backward_head;
  table.attention_backward_queries = attention_backward_queries;
  table.attention_backward_keys = attention_backward_keys;
  table.attention_row = attention_row;
  table.head_row = head_row;
  table.sum_of_squares = sum_of_squares_row;
  table.adamw = adamw_row;
  return table;
}

}  // namespace
}  // namespace nll::cpu
