// launch: the one way in which a kernel is started; dynamic_shared: the one way to its dynamic shared memory.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <string>
#include <tuple>
#include <utility>

#include "kernels/cuda/error.h"

namespace nll::cuda {

// More dynamic shared memory than this a kernel has to be allowed by name.
inline constexpr std::size_t usual_shared_bytes = 48 * 1024;

// "launch of <kernel's symbol>": what an error about it begins with.
inline std::string launch_name(const void* kernel) {
  const char* symbol = nullptr;
  if (cudaFuncGetName(&symbol, kernel) != cudaSuccess || symbol == nullptr) symbol = "a kernel";
  return std::string("launch of ") + symbol;
}

// Queues kernel<<<grid, block, shared_bytes, stream>>>(arguments...), each argument converted to the parameter's type.
// A grid without blocks is no launch. Throws an Error that names the kernel where the launch is refused; a fault while
// it runs shows in a later call, as always in CUDA.
template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared_bytes, cudaStream_t stream,
            A&&... arguments) {
  static_assert(sizeof...(P) == sizeof...(A), "launch: as many arguments as the kernel has parameters");
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  const void* const symbol = reinterpret_cast<const void*>(kernel);
  // Said before each launch that needs it: the call is cheap and may be recorded around, and remembering which kernels
  // were allowed would be a global.
  if (shared_bytes > usual_shared_bytes) {
    const cudaError_t allowed =
        cudaFuncSetAttribute(symbol, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
    if (allowed != cudaSuccess) {
      check(allowed, launch_name(symbol) + " with " + std::to_string(shared_bytes) + " bytes of shared memory");
    }
  }
  std::tuple<P...> values(std::forward<A>(arguments)...);
  const cudaError_t launched = std::apply(
      [&](auto&... value) {
        void* pointers[sizeof...(P) + 1] = {const_cast<void*>(static_cast<const void*>(&value))..., nullptr};
        return cudaLaunchKernel(symbol, grid, block, pointers, shared_bytes, stream);
      },
      values);
  if (launched != cudaSuccess) check(launched, launch_name(symbol));
}

// The dynamic shared memory of this block, aligned to 128 bytes.
__device__ inline unsigned char* dynamic_shared() {
  extern __shared__ __align__(128) unsigned char nll_dynamic_shared[];
  return nll_dynamic_shared;
}

}  // namespace nll::cuda
