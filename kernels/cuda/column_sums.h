// Sums over the rows of a matrix, in an order that depends on its number of rows only.
#pragma once
#include <cstdint>

#include "kernels/cuda/stream.h"
#include "kernels/ops.h"

namespace nll::cuda {

// FP32 numbers that column_sums needs to work with.
std::int64_t column_sums_scratch(std::int64_t rows, std::int64_t columns);
// sums (columns) (+)= sum over the rows of x (rows, columns), any number type.
void column_sums(const Stream& stream, float* sums, Into into, const void* x, DType type, std::int64_t rows,
                 std::int64_t columns, float* scratch);
// sums (columns) (+)= parts[0] + parts[1] + ..., each of `columns`, one behind the other; no part: 0.
void add_parts(const Stream& stream, float* sums, Into into, const float* parts, std::int64_t count,
               std::int64_t columns);

}  // namespace nll::cuda
