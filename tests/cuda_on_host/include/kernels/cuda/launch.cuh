// The same names as the product's launch.cuh, for kernels that run on the host.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <string>
#include <tuple>
#include <utility>

#include "kernels/cuda/error.h"
#include "tests/cuda_on_host/kernel_launch.h"

namespace nll::cuda {

// A number of bytes that knows where it was said, which is where the launch stands.
struct SharedBytes {
  SharedBytes(std::size_t bytes_of_block, const char* file_of_launch = __builtin_FILE(),
              int line_of_launch = __builtin_LINE())
      : bytes(bytes_of_block), file(file_of_launch), line(line_of_launch) {}
  std::size_t bytes;
  const char* file;
  int line;
};

template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, SharedBytes shared, cudaStream_t stream, A&&... arguments) {
  static_assert(sizeof...(P) == sizeof...(A), "launch: as many arguments as the kernel has parameters");
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  const auto thread = [kernel, values = std::tuple<P...>(std::forward<A>(arguments)...)] {
    std::apply(kernel, values);
  };
  const void* const symbol = reinterpret_cast<const void*>(kernel);
  const cudaError_t launched =
      cuda_on_host::launch_kernel({symbol, thread, grid, block, shared.bytes, shared.file, shared.line}, stream);
  if (launched != cudaSuccess) check(launched, "launch of " + cuda_on_host::name_of_function(symbol));
}

inline unsigned char* dynamic_shared() { return cuda_on_host::dynamic_shared_memory(); }

}  // namespace nll::cuda
