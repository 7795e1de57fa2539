#include "src/train/backend.h"

#include <unistd.h>

#include <filesystem>

namespace nll {

namespace {

namespace fs = std::filesystem;

// Whether a file in this folder, which need not be there yet, could be written.
bool could_write(fs::path folder) {
  std::error_code ignored;
  while (!folder.empty() && !fs::exists(folder, ignored) && folder != folder.parent_path())
    folder = folder.parent_path();
  return fs::is_directory(folder, ignored) && access(folder.c_str(), W_OK | X_OK) == 0;
}

}  // namespace

BackendOptions backend_options(const Config& config, const std::string& cache_folder) {
  BackendOptions options;
  options.threads = static_cast<int>(config.cpu.threads);
  options.tf32 = config.precision.tf32;
  options.attention = config.cuda.attention;
  options.product_cache = config.cuda.product_cache;
  if (options.product_cache == "auto") {
    options.product_cache = could_write(cache_folder) ? cache_folder + "/products.json" : "";
  }
  options.product_tuning = config.cuda.tune_products;
  options.deterministic = config.cuda.deterministic;
  return options;
}

}  // namespace nll
