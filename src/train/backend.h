// What a config says of the backend.
#pragma once
#include <string>

#include "kernels/device.h"
#include "src/config/config.h"

namespace nll {

// `cache_folder`: where the user's programs keep what they can make again (~/.cache/nll), made when it is needed. Where
// it is empty or cannot be made, `cuda.product_cache: auto` keeps nothing.
BackendOptions backend_options(const Config& config, const std::string& cache_folder);

}  // namespace nll
