// The row kernels for "avx2" (kernels/CMakeLists.txt sets the compiler's options).
#include "kernels/cpu/rows/table.h"

namespace nll::cpu {

extern const RowKernels avx2_row_kernels;
constinit const RowKernels avx2_row_kernels = make_row_kernels("avx2");

}  // namespace nll::cpu
