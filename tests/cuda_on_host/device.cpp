// The device that is pretended: its properties, its errors, and what is known of a function.
#include <algorithm>
#include <cstring>
#include <set>

#include "tests/cuda_on_host/memory.h"
#include "tests/cuda_on_host/pretended_gpu.h"
#include "tests/cuda_on_host/queue.h"
#include "tests/cuda_on_host/running_count.h"

namespace nll::cuda_on_host {

PretendedGpu& pretended_gpu() {
  static PretendedGpu only;
  return only;
}

Census& running_count() {
  static Census only;
  return only;
}

Census census() {
  Queues& all = queues();
  const std::lock_guard lock(all.mutex_);
  Census now = running_count();
  now.device_bytes = memory().bytes(Place::device);
  now.host_bytes = memory().bytes(Place::pinned);
  now.device_blocks = memory().blocks(Place::device);
  now.host_blocks = memory().blocks(Place::pinned);
  now.streams = static_cast<int>(all.streams_.size());
  now.events = static_cast<int>(all.events_.size());
  now.graphs = static_cast<int>(all.graphs_.size());
  now.executables = static_cast<int>(all.executables_.size());
  return now;
}

cudaError_t device_usable() {
  const PretendedGpu& gpu = pretended_gpu();
  if (gpu.driver_version < gpu.runtime_version) return cudaErrorInsufficientDriver;
  if (gpu.devices == 0) return cudaErrorNoDevice;
  return cudaSuccess;
}

}  // namespace nll::cuda_on_host

using nll::cuda_on_host::call;
using nll::cuda_on_host::pretended_gpu;
using nll::cuda_on_host::Queues;

cudaError_t cudaGetLastError() {
  Queues& all = nll::cuda_on_host::queues();
  const std::lock_guard lock(all.mutex_);
  return std::exchange(all.last_error_, cudaSuccess);
}
cudaError_t cudaPeekAtLastError() {
  Queues& all = nll::cuda_on_host::queues();
  const std::lock_guard lock(all.mutex_);
  return all.last_error_;
}

namespace {
struct ErrorText {
  cudaError_t error;
  const char* name;
  const char* text;
};
#define NLL_ERROR(error, text) \
  { error, #error, text }
constexpr ErrorText error_texts[] = {
    NLL_ERROR(cudaSuccess, "no error"),
    NLL_ERROR(cudaErrorInvalidValue, "invalid argument"),
    NLL_ERROR(cudaErrorMemoryAllocation, "out of memory"),
    NLL_ERROR(cudaErrorInitializationError, "initialization error"),
    NLL_ERROR(cudaErrorInvalidConfiguration, "invalid configuration argument"),
    NLL_ERROR(cudaErrorInvalidPitchValue, "invalid pitch argument"),
    NLL_ERROR(cudaErrorInvalidDevicePointer, "invalid device pointer"),
    NLL_ERROR(cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy"),
    NLL_ERROR(cudaErrorInsufficientDriver, "CUDA driver version is insufficient for CUDA runtime version"),
    NLL_ERROR(cudaErrorDevicesUnavailable, "CUDA-capable device(s) is/are busy or unavailable"),
    NLL_ERROR(cudaErrorInvalidDeviceFunction, "invalid device function"),
    NLL_ERROR(cudaErrorNoDevice, "no CUDA-capable device is detected"),
    NLL_ERROR(cudaErrorInvalidDevice, "invalid device ordinal"),
    NLL_ERROR(cudaErrorInvalidKernelImage, "device kernel image is invalid"),
    NLL_ERROR(cudaErrorNoKernelImageForDevice, "no kernel image is available for execution on the device"),
    NLL_ERROR(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    NLL_ERROR(cudaErrorIllegalState, "the operation cannot be performed in the present state"),
    NLL_ERROR(cudaErrorNotReady, "device not ready"),
    NLL_ERROR(cudaErrorLaunchFailure, "unspecified launch failure"),
    NLL_ERROR(cudaErrorNotSupported, "operation not supported"),
    NLL_ERROR(cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing"),
    NLL_ERROR(cudaErrorStreamCaptureInvalidated, "operation failed due to a previous error during capture"),
    NLL_ERROR(cudaErrorStreamCaptureMerge, "operation would result in a merge of separate capture sequences"),
    NLL_ERROR(cudaErrorStreamCaptureUnmatched, "capture was not ended in the same stream as it began"),
    NLL_ERROR(cudaErrorStreamCaptureUnjoined, "capturing stream has unjoined work"),
    NLL_ERROR(cudaErrorStreamCaptureIsolation, "dependency created on uncaptured work in another stream"),
    NLL_ERROR(cudaErrorStreamCaptureImplicit, "operation would make the legacy stream depend on a capturing stream"),
    NLL_ERROR(cudaErrorCapturedEvent, "operation not permitted on an event last recorded in a capturing stream"),
    NLL_ERROR(cudaErrorStreamCaptureWrongThread, "capture was not ended by the thread that began it"),
};
#undef NLL_ERROR

const ErrorText* find_text(cudaError_t error) {
  const auto* const found =
      std::find_if(std::begin(error_texts), std::end(error_texts), [&](const auto& row) { return row.error == error; });
  return found == std::end(error_texts) ? nullptr : found;
}
}  // namespace

const char* cudaGetErrorName(cudaError_t error) {
  const ErrorText* const found = find_text(error);
  return found != nullptr ? found->name : "unrecognized error code";
}
const char* cudaGetErrorString(cudaError_t error) {
  const ErrorText* const found = find_text(error);
  return found != nullptr ? found->text : "unrecognized error code";
}

// ---- device

cudaError_t cudaDriverGetVersion(int* version) {
  *version = pretended_gpu().driver_version;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = pretended_gpu().runtime_version;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  return call([&](Queues&) {
    *count = pretended_gpu().devices;
    return cudaSuccess;
  });
}
cudaError_t cudaSetDevice(int device) {
  return call(
      [&](Queues&) { return device >= 0 && device < pretended_gpu().devices ? cudaSuccess : cudaErrorInvalidDevice; });
}
cudaError_t cudaGetDevice(int* device) {
  return call([&](Queues&) {
    *device = 0;
    return cudaSuccess;
  });
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  return call([&](Queues&) {
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
  });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return call([&](Queues&) {
    const auto& gpu = pretended_gpu();
    if (device < 0 || device >= gpu.devices) return cudaErrorInvalidDevice;
    *properties = cudaDeviceProp{};
    cudaDeviceProp& p = *properties;
    std::strncpy(p.name, gpu.name.c_str(), sizeof(p.name) - 1);
    p.totalGlobalMem = gpu.memory_bytes;
    p.sharedMemPerBlock = 48 * 1024;
    p.sharedMemPerBlockOptin = nll::cuda_on_host::shared_bytes_limit;
    p.sharedMemPerMultiprocessor = nll::cuda_on_host::shared_bytes_limit + 1024;
    p.reservedSharedMemPerBlock = 1024;
    p.regsPerBlock = p.regsPerMultiprocessor = 65536;
    p.warpSize = 32;
    p.maxThreadsPerBlock = 1024;
    p.maxThreadsPerMultiProcessor = 2048;
    p.maxBlocksPerMultiProcessor = 32;
    p.maxThreadsDim[0] = p.maxThreadsDim[1] = 1024;
    p.maxThreadsDim[2] = 64;
    p.maxGridSize[0] = 0x7fffffff;
    p.maxGridSize[1] = p.maxGridSize[2] = 65535;
    p.major = gpu.capability_major;
    p.minor = gpu.capability_minor;
    p.multiProcessorCount = gpu.multiprocessors;
    p.l2CacheSize = gpu.l2_bytes;
    p.persistingL2CacheMaxSize = gpu.l2_bytes / 2;
    p.memoryBusWidth = 5120;
    p.concurrentKernels = p.canMapHostMemory = 1;
    p.asyncEngineCount = 2;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp p{};
  if (const cudaError_t error = cudaGetDeviceProperties(&p, device); error != cudaSuccess) return error;
  const auto as_int = [](std::size_t size) { return static_cast<int>(size); };
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = p.maxThreadsPerBlock;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = as_int(p.sharedMemPerBlock);
      break;
    case cudaDevAttrWarpSize:
      *value = p.warpSize;
      break;
    case cudaDevAttrMaxRegistersPerBlock:
      *value = p.regsPerBlock;
      break;
    case cudaDevAttrClockRate:
      *value = 1410000;
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = p.multiProcessorCount;
      break;
    case cudaDevAttrIntegrated:
      *value = p.integrated;
      break;
    case cudaDevAttrEccEnabled:
      *value = p.ECCEnabled;
      break;
    case cudaDevAttrMemoryClockRate:
      *value = 1215000;
      break;
    case cudaDevAttrGlobalMemoryBusWidth:
      *value = p.memoryBusWidth;
      break;
    case cudaDevAttrL2CacheSize:
      *value = p.l2CacheSize;
      break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      *value = p.maxThreadsPerMultiProcessor;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = p.major;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = p.minor;
      break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = as_int(p.sharedMemPerMultiprocessor);
      break;
    case cudaDevAttrMaxRegistersPerMultiprocessor:
      *value = p.regsPerMultiprocessor;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = as_int(p.sharedMemPerBlockOptin);
      break;
    case cudaDevAttrMaxBlocksPerMultiprocessor:
      *value = p.maxBlocksPerMultiProcessor;
      break;
    case cudaDevAttrMaxPersistingL2CacheSize:
      *value = p.persistingL2CacheMaxSize;
      break;
    case cudaDevAttrReservedSharedMemoryPerBlock:
      *value = as_int(p.reservedSharedMemPerBlock);
      break;
    default:
      return cudaErrorInvalidValue;
  }
  return cudaSuccess;
}

// ---- functions

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  return call([&](Queues&) {
    if (function == nullptr) return cudaErrorInvalidDeviceFunction;
    if (!pretended_gpu().has_kernel_image) return cudaErrorNoKernelImageForDevice;
    const bool fits = attribute != cudaFuncAttributeMaxDynamicSharedMemorySize ||
                      static_cast<std::size_t>(value) <= nll::cuda_on_host::shared_bytes_limit;
    return fits && value >= -1 ? cudaSuccess : cudaErrorInvalidValue;
  });
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* function) {
  return call([&](Queues&) {
    if (function == nullptr) return cudaErrorInvalidDeviceFunction;
    const auto& gpu = pretended_gpu();
    if (!gpu.has_kernel_image) return cudaErrorNoKernelImageForDevice;
    *attributes = cudaFuncAttributes{};
    attributes->maxThreadsPerBlock = 1024;
    attributes->numRegs = 64;
    attributes->binaryVersion = attributes->ptxVersion = 10 * gpu.capability_major + gpu.capability_minor;
    attributes->maxDynamicSharedSizeBytes = 48 * 1024;
    return cudaSuccess;
  });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* function, int block_size,
                                                          std::size_t shared_bytes) {
  return call([&](Queues&) {
    if (function == nullptr) return cudaErrorInvalidDeviceFunction;
    if (block_size < 1 || block_size > 1024) return cudaErrorInvalidValue;
    const std::size_t by_shared = (nll::cuda_on_host::shared_bytes_limit + 1024) / (shared_bytes + 1024);
    *blocks = std::min({2048 / block_size, 65536 / (64 * block_size), 32, static_cast<int>(by_shared)});
    return cudaSuccess;
  });
}
