// What the host run of the CUDA kernels says of its GPU, and the faults that a test can ask for.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace nll::cuda_on_host {

// Dynamic shared memory that a block may ask for.
inline constexpr std::size_t shared_bytes_limit = 163 * 1024;

struct PretendedGpu {
  std::string name = "host run of CUDA kernels";
  int devices = 1;  // 0: cudaErrorNoDevice
  int capability_major = 8, capability_minor = 0;
  int multiprocessors = 4;
  int l2_bytes = 1 << 20;
  std::size_t memory_bytes = std::size_t{4} << 30;
  int driver_version = 13000;  // 0: no driver; below runtime_version: too old. Both: cudaErrorInsufficientDriver
  int runtime_version = 13000;
  bool has_kernel_image = true;  // false: cudaErrorNoKernelImageForDevice, as where the build lacks the architecture
  // Work waits in its queue until something waits for it; false: is done as soon as it is queued.
  bool lazy = true;
  int failing_mallocs = 0;       // so many further calls of cudaMalloc fail
  int failing_host_mallocs = 0;  // and of cudaMallocHost, cudaHostAlloc
  // cuBLASLt has no algorithm with one of these (cublasLtEpilogue_t).
  std::vector<int> epilogues_without_algorithm;
};
// Changes what is said from now on. Tests put it back: PretendedGpuScope.
PretendedGpu& pretended_gpu();

// Puts everything back when a test is over.
class PretendedGpuScope {
 public:
  PretendedGpuScope() : before_(pretended_gpu()) {}
  ~PretendedGpuScope() { pretended_gpu() = before_; }
  PretendedGpuScope(const PretendedGpuScope&) = delete;
  PretendedGpuScope& operator=(const PretendedGpuScope&) = delete;

 private:
  PretendedGpu before_;
};

// What is there now, and what was done since the program began.
struct Census {
  std::size_t device_bytes = 0, host_bytes = 0;  // allocated and not freed
  int device_blocks = 0, host_blocks = 0, streams = 0, events = 0, graphs = 0, executables = 0;
  std::uint64_t mallocs = 0, kernels = 0, graph_launches = 0, products = 0, device_synchronizations = 0;
};
Census census();

}  // namespace nll::cuda_on_host
