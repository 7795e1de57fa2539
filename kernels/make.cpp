// Which backend a name means.
#include "kernels/cpu/cpu_backend.h"
#include "kernels/device.h"
#include "kernels/ops.h"

#if NLL_CUDA
#include "kernels/cuda/cuda_backend.h"
#else
namespace nll::cuda {
namespace {
constexpr BackendFactory make_cuda_backend = nullptr;
bool cuda_usable(std::string*, const BackendOptions&) { return false; }
}  // namespace
}  // namespace nll::cuda
#endif

namespace nll {

Backend::Backend(std::unique_ptr<Device> own_device, std::unique_ptr<Ops> own_ops)
    : device(std::move(own_device)), ops(std::move(own_ops)) {}
Backend::Backend(Backend&&) noexcept = default;
Backend::~Backend() = default;

namespace {

BackendFactory cuda_factory = cuda::make_cuda_backend;

}  // namespace

void set_cuda_backend(BackendFactory factory) { cuda_factory = factory; }

std::string backends() { return cuda_factory == nullptr ? "cpu" : "cpu, cuda"; }

Backend make_backend(const std::string& kind, const BackendOptions& options) {
  const bool automatic = kind == "auto";
  if ((automatic && cuda::cuda_usable(nullptr, options)) || (kind == "cuda" && cuda_factory != nullptr)) {
    return cuda_factory(options);
  }
  if (kind == "cpu" || automatic) return cpu::make_cpu_backend(options.threads, options.instructions);
  if (kind == "cuda") {
    throw Error(Exit::usage, "device: \"cuda\" (this build has no CUDA)", "use \"cpu\" or \"auto\"");
  }
  throw Error(Exit::usage, "device: \"" + kind + "\" (expected auto, cpu or cuda)");
}

}  // namespace nll
