// The row kernels for "generic" (kernels/CMakeLists.txt sets the compiler's options).
#include "kernels/cpu/rows/table.h"

namespace nll::cpu {

extern const RowKernels generic_row_kernels;
constinit const RowKernels generic_row_kernels = make_row_kernels("generic");

}  // namespace nll::cpu
