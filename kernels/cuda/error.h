// What the CUDA runtime answered, as an Error that names what was asked of it.
#pragma once
#include <cuda_runtime.h>

#include <string>

#include "kernels/check.h"

namespace nll::cuda {

// Nothing on success. Otherwise throws one line, "cuda: <what>: <name of the error> (<its text>)", and clears the
// runtime's last error. Not enough memory, no device, no driver, a driver too old and a device this build has no code
// for are Exit::resources, with a remedy; all else is Exit::internal.
inline void check(cudaError_t outcome, const std::string& what) {
  if (outcome == cudaSuccess) return;
  (void)cudaGetLastError();
  Exit exit = Exit::resources;
  std::string hint;
  switch (outcome) {
    case cudaErrorMemoryAllocation:
      hint = "use a smaller batch.sequences, or a GPU with more memory (`nll plan` prints what a run needs)";
      break;
    case cudaErrorNoDevice:
    case cudaErrorDevicesUnavailable:
      hint = "see that nvidia-smi lists a GPU and that CUDA_VISIBLE_DEVICES does not hide it, or use device \"cpu\"";
      break;
    case cudaErrorInsufficientDriver:
    case cudaErrorSystemDriverMismatch:
      hint = "install an NVIDIA driver at least as new as this build's CUDA, or use device \"cpu\"";
      break;
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidKernelImage:
      hint = "build with this GPU's architecture in CMAKE_CUDA_ARCHITECTURES, or use device \"cpu\"";
      break;
    default:
      exit = Exit::internal;
  }
  throw Error(exit, "cuda: " + what + ": " + cudaGetErrorName(outcome) + " (" + cudaGetErrorString(outcome) + ")",
              hint);
}

}  // namespace nll::cuda
