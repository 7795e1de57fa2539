// What a config says of the backend.
#pragma once
#include <string>

#include "kernels/device.h"
#include "src/config/config.h"

namespace nll {

// `cache_folder`: where the user's programs keep what they can make again (~/.cache/nll); empty: nowhere.
inline BackendOptions backend_options(const Config& config, const std::string& cache_folder) {
  BackendOptions options;
  options.threads = static_cast<int>(config.cpu.threads);
  options.tf32 = config.precision.tf32;
  options.attention = config.cuda.attention;
  options.product_cache = config.cuda.product_cache;
  if (options.product_cache == "auto")
    options.product_cache = cache_folder.empty() ? "" : cache_folder + "/products.json";
  options.product_tuning = config.cuda.tune_products;
  options.deterministic = config.cuda.deterministic;
  return options;
}

}  // namespace nll
