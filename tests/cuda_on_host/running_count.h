// Counters behind census().
#pragma once
#include "tests/cuda_on_host/pretended_gpu.h"

namespace nll::cuda_on_host {

Census& running_count();

}  // namespace nll::cuda_on_host
