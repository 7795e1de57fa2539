// Before the first test: names the CUDA backend, and skips everything where there is no GPU for it.
#include <gtest/gtest.h>

#include "kernels/cuda/cuda_backend.h"

namespace nll::test {
namespace {

class UsableGpu : public testing::Environment {
 public:
  void SetUp() override {
    set_cuda_backend(cuda::make_cuda_backend);
    std::string why;
    if (!cuda::cuda_usable(&why)) GTEST_SKIP() << "no usable GPU: " << why;
  }
};

// GoogleTest owns it.
[[maybe_unused]] const testing::Environment* const environment = testing::AddGlobalTestEnvironment(new UsableGpu);

}  // namespace
}  // namespace nll::test
