// The GPU's answer to make_backend (kernels/make.cpp).
#pragma once
#include <string>

#include "kernels/device.h"

namespace nll::cuda {

// Whether make_cuda_backend would find a GPU it can use; where not, `why` (if not null) says why in one line.
bool cuda_usable(std::string* why, const BackendOptions& options = {});
// On the GPU that the options name. Throws Error(resources) that says why there is none to use, and what would help.
Backend make_cuda_backend(const BackendOptions& options);

}  // namespace nll::cuda
