// A kernel's launch on the host: queued like all work of a stream, then run block by block.
#pragma once
#include <cstddef>
#include <functional>
#include <string>

#include "tests/cuda_on_host/runtime_api.h"

namespace nll::cuda_on_host {

struct KernelLaunch {
  const void* function;  // whose symbol names it
  std::function<void()> thread;
  dim3 grid, block;
  std::size_t shared_bytes;
  const char* file;  // of the launch
  int line;
};
// Checks the launch as CUDA does, and queues it.
cudaError_t launch_kernel(KernelLaunch launch, cudaStream_t stream);

// The name of a function of this program, from its symbol table; "a kernel" where it has been stripped of that.
std::string name_of_function(const void* function);

}  // namespace nll::cuda_on_host
