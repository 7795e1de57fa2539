// The whole program with the CUDA backend run on the host: what a GPU will be asked can be rehearsed without one
// (scripts/gpu_check.sh --rehearse). Linked with src/main.cpp.
#include "kernels/cuda/cuda_backend.h"

namespace nll {
namespace {

[[maybe_unused]] const bool named = (set_cuda_backend(cuda::make_cuda_backend), true);

}  // namespace
}  // namespace nll
