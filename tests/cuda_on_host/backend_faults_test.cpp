// What the backend says when there is no GPU to use, and that it leaves nothing behind.
#include <gtest/gtest.h>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/ops.h"
#include "tests/cuda_on_host/pretended_gpu.h"

namespace nll::cuda_on_host {
namespace {

struct Said {
  std::string message, hint, why;
};

Said refusal() {
  Said said;
  EXPECT_FALSE(cuda::cuda_usable(&said.why));
  EXPECT_FALSE(cuda::cuda_usable(nullptr));
  try {
    cuda::make_cuda_backend({});
    ADD_FAILURE() << "a backend was made";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::resources);
    said.message = error.what();
    said.hint = error.hint();
  }
  EXPECT_EQ(said.message, "device: \"cuda\": " + said.why);
  EXPECT_NE(said.hint.find("use device \"cpu\""), std::string::npos) << said.hint;
  return said;
}

TEST(CudaFaults, NoDriverIsSaid) {
  const PretendedGpuScope scope;
  pretended_gpu().driver_version = 0;
  EXPECT_EQ(refusal().why, "no NVIDIA driver is loaded here");
}

TEST(CudaFaults, ADriverOlderThanTheRuntimeIsSaid) {
  const PretendedGpuScope scope;
  pretended_gpu().driver_version = 12040;
  EXPECT_EQ(refusal().why, "the NVIDIA driver is too old: it knows CUDA 12.4, this build needs 13.0");
}

TEST(CudaFaults, NoDeviceIsSaid) {
  const PretendedGpuScope scope;
  pretended_gpu().devices = 0;
  EXPECT_EQ(refusal().why, "no GPU is visible to this process");
}

TEST(CudaFaults, ADeviceThatTheBuildHasNoCodeForIsNamed) {
  const PretendedGpuScope scope;
  pretended_gpu().has_kernel_image = false;
  pretended_gpu().name = "Old GPU";
  pretended_gpu().capability_major = 7;
  pretended_gpu().capability_minor = 5;
  const Said said = refusal();
  EXPECT_EQ(said.why, "this build has no code for \"Old GPU\" (compute capability 7.5)");
  EXPECT_NE(said.hint.find("-DCMAKE_CUDA_ARCHITECTURES=75-real"), std::string::npos) << said.hint;
}

TEST(CudaFaults, AUsableDeviceIsUsable) {
  std::string why = "not asked";
  EXPECT_TRUE(cuda::cuda_usable(&why));
  EXPECT_EQ(why, "");
}

TEST(CudaFaults, AGpuBeyondThoseThatAreVisibleIsNamedWithTheirNumber) {
  const PretendedGpuScope scope;
  pretended_gpu().devices = 2;
  BackendOptions options;
  for (options.gpu = 0; options.gpu < 2; ++options.gpu) EXPECT_NO_THROW(cuda::make_cuda_backend(options));
  EXPECT_TRUE(cuda::cuda_usable(nullptr, options));  // so that "auto" does not go on without it
  try {
    cuda::make_cuda_backend(options);
    ADD_FAILURE() << "a backend was made";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::resources);
    EXPECT_EQ(std::string(error.what()),
              "device: \"cuda\": GPU 2 is wanted, and this process sees 2 (one for each rank on a host)");
    EXPECT_NE(error.hint().find("dist.share_gpu"), std::string::npos);
  }
  options.share_gpu = true;
  EXPECT_NO_THROW(cuda::make_cuda_backend(options));
}

TEST(CudaFaults, TheQueueIsTheStreamOfTheDevice) {
  EXPECT_NE(cuda::make_cuda_backend({}).device->queue(), nullptr);
  EXPECT_EQ(make_backend("cpu").device->queue(), nullptr);
}

TEST(CudaFaults, MemoryThatIsRefusedIsNamed) {
  const PretendedGpuScope scope;
  const Backend backend = cuda::make_cuda_backend({});
  const auto message_of = [](const std::function<Buffer()>& allocate) -> std::string {
    try {
      allocate();
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::resources);
      EXPECT_FALSE(error.hint().empty());
      return error.what();
    }
    return "nothing was thrown";
  };
  pretended_gpu().failing_mallocs = 1;
  const std::string device = message_of([&] { return backend.device->allocate(1234567); });
  EXPECT_EQ(device.rfind("cuda: 1234567 bytes of GPU memory are needed, ", 0), 0u) << device;
  pretended_gpu().failing_host_mallocs = 1;
  const std::string host = message_of([&] { return backend.device->allocate_host(1234567); });
  EXPECT_EQ(host, "cuda: the system gives no 1234567 bytes of pinned memory");
  EXPECT_EQ(backend.device->allocate(64).bytes(), 64);
  EXPECT_EQ(backend.device->allocate_host(64).bytes(), 64);
}

TEST(CudaFaults, NothingIsLeftBehindAndTheWholeDeviceIsNeverWaitedFor) {
  const Census before = census();
  {
    const Backend backend = cuda::make_cuda_backend({});
    const Buffer memory = backend.device->allocate(4096), host = backend.device->allocate_host(4096);
    const Tensor x = memory.tensor(0, DType::f32, {8, 8}), y = memory.tensor(1024, DType::f32, {8, 8});
    const auto work = [&] { backend.ops->linear(y, x, x, {}); };
    work();
    backend.device->download_later(host.data(), y);
    backend.device->wait(backend.device->mark());
    backend.device->record(work)->replay();
    EXPECT_THROW(backend.device->record([] { throw std::runtime_error("stop"); }), std::runtime_error);
    work();  // still queued when everything goes
  }
  const Census after = census();
  EXPECT_EQ(after.device_bytes, before.device_bytes);
  EXPECT_EQ(after.device_blocks, before.device_blocks);
  EXPECT_EQ(after.host_blocks, before.host_blocks);
  EXPECT_EQ(after.streams, before.streams);
  EXPECT_EQ(after.events, before.events);
  EXPECT_EQ(after.graphs, before.graphs);
  EXPECT_EQ(after.executables, before.executables);
  EXPECT_EQ(after.device_synchronizations, before.device_synchronizations);
}

}  // namespace
}  // namespace nll::cuda_on_host
