#include "kernels/cuda/cuda_backend.h"

#include <cuda_runtime.h>

#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/cudnn_attention.h"
#include "kernels/cuda/error.h"
#include "kernels/cuda/probe.h"

namespace nll::cuda {
namespace {

// Why there is no GPU to use, and what would help; both empty where there is one.
struct Obstacle {
  std::string what, hint;
};

std::string version(int number) { return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10); }

std::string described(cudaError_t outcome) {
  return std::string(cudaGetErrorName(outcome)) + " (" + cudaGetErrorString(outcome) + ")";
}

Obstacle unsupported_architecture(int gpu) {
  cudaDeviceProp properties{};
  if (cudaGetDeviceProperties(&properties, gpu) != cudaSuccess) return {"the GPU's properties cannot be read", ""};
  const std::string major = std::to_string(properties.major), minor = std::to_string(properties.minor);
  return {std::string("this build has no code for \"") + properties.name + "\" (compute capability " + major + "." +
              minor + ")",
          "build with -DCMAKE_CUDA_ARCHITECTURES=" + major + minor + "-real, or use device \"cpu\""};
}

// Which of `count` GPUs the options mean; may be beyond them.
int wanted_gpu(const BackendOptions& options, int count) {
  return options.share_gpu ? options.gpu % count : options.gpu;
}

// Touches the chosen GPU only: a rank that looked at another would hold memory there.
Obstacle find_obstacle(const BackendOptions& options) {
  int driver = 0, runtime = 0, count = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
    return {"no NVIDIA driver is loaded here", "install NVIDIA's driver, or use device \"cpu\""};
  }
  (void)cudaRuntimeGetVersion(&runtime);
  cudaError_t outcome = cudaGetDeviceCount(&count);
  if (outcome == cudaErrorInsufficientDriver) {
    return {"the NVIDIA driver is too old: it knows CUDA " + version(driver) + ", this build needs " + version(runtime),
            "install a newer driver, build with an older CUDA toolkit, or use device \"cpu\""};
  }
  if (outcome == cudaErrorNoDevice || (outcome == cudaSuccess && count == 0)) {
    return {"no GPU is visible to this process",
            "see that nvidia-smi lists one and that CUDA_VISIBLE_DEVICES does not hide it, or use device \"cpu\""};
  }
  const int gpu = outcome == cudaSuccess ? wanted_gpu(options, count) : 0;
  // chosen_gpu refuses: that one rank goes on without a GPU is not what "auto" means.
  if (outcome == cudaSuccess && gpu >= count) return {};
  if (outcome == cudaSuccess) outcome = cudaSetDevice(gpu);
  if (outcome == cudaSuccess) {
    outcome = probe_kernels();
    if (outcome == cudaErrorNoKernelImageForDevice || outcome == cudaErrorInvalidDeviceFunction) {
      return unsupported_architecture(gpu);
    }
  }
  if (outcome == cudaSuccess) return {};
  return {"the GPU cannot be used: " + described(outcome), "see what nvidia-smi says of it, or use device \"cpu\""};
}

Obstacle obstacle(const BackendOptions& options) {
  Obstacle found = find_obstacle(options);
  (void)cudaGetLastError();  // an answer that was expected is not left for the next call to find
  return found;
}

int chosen_gpu(const BackendOptions& options) {
  int count = 0;
  check(cudaGetDeviceCount(&count), "counting the GPUs");
  const int gpu = wanted_gpu(options, count);
  if (gpu >= 0 && gpu < count) return gpu;
  throw Error(Exit::resources,
              "device: \"cuda\": GPU " + std::to_string(gpu) + " is wanted, and this process sees " +
                  std::to_string(count) + " (one for each rank on a host)",
              "start as many ranks on a host as it has GPUs, or say --set dist.share_gpu=true");
}

}  // namespace

bool cuda_usable(std::string* why, const BackendOptions& options) {
  const Obstacle found = obstacle(options);
  if (why != nullptr) *why = found.what;
  return found.what.empty();
}

Backend make_cuda_backend(const BackendOptions& options) {
  const Obstacle found = obstacle(options);
  if (!found.what.empty()) throw Error(Exit::resources, "device: \"cuda\": " + found.what, found.hint);
  auto stream = std::make_shared<Stream>(chosen_gpu(options));
  auto gemm = std::make_unique<Gemm>(stream, options);
  auto cudnn = make_cudnn_attention(stream, options);
  auto ops = std::make_unique<CudaOps>(stream, std::move(gemm), std::move(cudnn));
  return Backend(std::make_unique<CudaDevice>(stream), std::move(ops));
}

}  // namespace nll::cuda
