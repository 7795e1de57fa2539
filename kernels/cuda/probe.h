// Whether this build has code for a GPU.
#pragma once
#include <cuda_runtime.h>

namespace nll::cuda {

// cudaSuccess where the current GPU can run our kernels; cudaErrorNoKernelImageForDevice where they were not built for
// its architecture; what went wrong, else.
cudaError_t probe_kernels();

}  // namespace nll::cuda
