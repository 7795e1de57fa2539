// The matrix product of our own: for the few that cuBLASLt does not have (half types of odd widths).
#pragma once
#include "kernels/cuda/gemm.h"

namespace nll::cuda {

// call.epilogue is none. Any size, any alignment.
void own_product(const Stream& stream, const GemmCall& call);

}  // namespace nll::cuda
