#include "tests/cuda_on_host/kernel_launch.h"

#include "tests/cuda_on_host/block.h"
#include "tests/cuda_on_host/pretended_gpu.h"
#include "tests/cuda_on_host/queue.h"
#include "tests/cuda_on_host/running_count.h"

namespace nll::cuda_on_host {

cudaError_t launch_kernel(KernelLaunch asked, cudaStream_t stream) {
  return call([&](Queues& all) {
    if (!pretended_gpu().has_kernel_image) return cudaErrorNoKernelImageForDevice;
    const dim3 grid = asked.grid, block = asked.block;
    const std::size_t threads = std::size_t{block.x} * block.y * block.z;
    if (threads == 0 || threads > 1024 || block.z > 64) return cudaErrorInvalidConfiguration;
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return cudaErrorInvalidConfiguration;
    if (grid.x > 0x7fffffffu || grid.y > 65535u || grid.z > 65535u) return cudaErrorInvalidConfiguration;
    if (asked.shared_bytes > shared_bytes_limit) return cudaErrorInvalidValue;
    ++running_count().kernels;
    return all.add(stream, [asked = std::move(asked)] {
      Launch launch;
      launch.kernel = asked.thread;
      launch.grid = asked.grid;
      launch.block = asked.block;
      launch.shared_bytes = asked.shared_bytes;
      launch.name = [&asked] {
        return name_of_function(asked.function) + " (launched at " + asked.file + ":" + std::to_string(asked.line) +
               ")";
      };
      run(launch);
    });
  });
}

}  // namespace nll::cuda_on_host
