// A kernel that does nothing, and the question whether it could. It is built for the same architectures as all others.
#include "kernels/cuda/probe.h"

namespace nll::cuda {
namespace {

__global__ void nothing() {}

}  // namespace

cudaError_t probe_kernels() {
  cudaFuncAttributes attributes{};
  return cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(nothing));
}

}  // namespace nll::cuda
