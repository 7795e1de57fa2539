// The row kernels for "avx512" (kernels/CMakeLists.txt sets the compiler's options).
#include "kernels/cpu/rows/table.h"

namespace nll::cpu {

extern const RowKernels avx512_row_kernels;
constinit const RowKernels avx512_row_kernels = make_row_kernels("avx512");

}  // namespace nll::cpu
