#include "kernels/cuda/cuda_device.h"

#include <cublasLt.h>

#include <cstring>
#include <string>

#include "kernels/cuda/error.h"
#include "kernels/cuda/memory.h"

namespace nll::cuda {
namespace {

std::string version(std::size_t number, std::size_t major, std::size_t minor) {
  return std::to_string(number / major) + "." + std::to_string(number % major / minor);
}

std::string software() {
  int driver = 0, runtime = 0;
  check(cudaDriverGetVersion(&driver), "reading the driver's version");
  check(cudaRuntimeGetVersion(&runtime), "reading the runtime's version");
  return "driver " + version(static_cast<std::size_t>(driver), 1000, 10) + ", runtime " +
         version(static_cast<std::size_t>(runtime), 1000, 10) + ", cuBLASLt " +
         version(cublasLtGetVersion(), 10000, 100);
}

std::size_t size_of(const Tensor& tensor) { return static_cast<std::size_t>(tensor.bytes()); }

// A CUDA graph that was recorded once.
class CudaRecording : public Recording {
 public:
  CudaRecording(std::shared_ptr<Stream> stream, cudaGraph_t graph) : stream_(std::move(stream)) {
    check(cudaGraphInstantiate(&runnable_, graph, 0), "making a recording");
  }
  ~CudaRecording() override {
    (void)cudaStreamSynchronize(stream_->get());
    (void)cudaGraphExecDestroy(runnable_);
  }
  CudaRecording(const CudaRecording&) = delete;
  CudaRecording& operator=(const CudaRecording&) = delete;
  void replay() override {
    CHECK(!stream_->capturing());
    check(cudaGraphLaunch(runnable_, stream_->get()), "replaying a recording");
  }

 private:
  std::shared_ptr<Stream> stream_;
  cudaGraphExec_t runnable_ = nullptr;
};

struct FreeGraph {
  void operator()(cudaGraph_t graph) const { (void)cudaGraphDestroy(graph); }
};

}  // namespace

DeviceInfo CudaDevice::info() const {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, stream_->gpu()), "reading the GPU's properties");
  std::size_t available = 0, total = 0;
  check(cudaMemGetInfo(&available, &total), "asking for free memory");
  DeviceInfo info;
  info.kind = "cuda";
  info.asynchronous = true;
  info.name = properties.name;
  info.memory_bytes = static_cast<std::int64_t>(total);
  info.available_memory_bytes = static_cast<std::int64_t>(available);
  info.compute_capability = stream_->capability();
  info.multiprocessors = stream_->multiprocessors();
  info.cache_bytes = properties.l2CacheSize;
  info.software = software();
  return info;
}

Buffer CudaDevice::allocate(std::int64_t bytes) {
  Buffer buffer = device_memory(*stream_, bytes);
  if (bytes > 0) {
    check(cudaMemsetAsync(buffer.data(), 0, static_cast<std::size_t>(bytes), stream_->get()), "clearing memory");
  }
  return buffer;
}

Buffer CudaDevice::allocate_host(std::int64_t bytes) {
  Buffer buffer = host_memory(*stream_, bytes);
  if (bytes > 0) std::memset(buffer.data(), 0, static_cast<std::size_t>(bytes));
  return buffer;
}

void CudaDevice::upload(Tensor destination, const void* source) {
  CHECK(!stream_->capturing());
  if (destination.bytes() == 0) return;
  // From memory that is not pinned this returns when the source has been read.
  check(cudaMemcpyAsync(destination.data(), source, size_of(destination), cudaMemcpyHostToDevice, stream_->get()),
        "copying to the GPU");
}

void CudaDevice::download(void* destination, Tensor source) {
  download_later(destination, source);
  stream_->synchronize();
}

void CudaDevice::download_later(void* destination, Tensor source) {
  CHECK(!stream_->capturing());
  if (source.bytes() == 0) return;
  check(cudaMemcpyAsync(destination, source.data(), size_of(source), cudaMemcpyDeviceToHost, stream_->get()),
        "copying from the GPU");
}

void CudaDevice::copy(Tensor destination, Tensor source) {
  CHECK(destination.type() == source.type());
  CHECK(destination.size() == source.size());
  if (source.bytes() == 0) return;
  check(cudaMemcpyAsync(destination.data(), source.data(), size_of(source), cudaMemcpyDeviceToDevice, stream_->get()),
        "copying on the GPU");
}

void CudaDevice::zero(Tensor destination) {
  if (destination.bytes() == 0) return;
  check(cudaMemsetAsync(destination.data(), 0, size_of(destination), stream_->get()), "clearing memory");
}

void CudaDevice::synchronize() {
  CHECK(!stream_->capturing());
  const std::uint64_t before = marks_;
  stream_->synchronize();
  reached_ = before;
}

std::uint64_t CudaDevice::mark() {
  CHECK(!stream_->capturing());
  events_[(marks_ + 1) % ring].record(*stream_);
  return ++marks_;
}

void CudaDevice::wait(std::uint64_t mark) {
  CHECK(mark <= marks_);
  if (mark <= reached_) return;
  CHECK(!stream_->capturing());
  events_[mark % ring].synchronize();
  reached_ = mark;
}

std::unique_ptr<Recording> CudaDevice::record(std::function<void()> work) {
  CHECK(!stream_->capturing());
  check(cudaStreamBeginCapture(stream_->get(), cudaStreamCaptureModeThreadLocal), "beginning a recording");
  cudaGraph_t graph = nullptr;
  try {
    work();
  } catch (...) {
    // Whatever became of the recording, the stream has to leave this state, and what went wrong in `work` is the news.
    (void)cudaStreamEndCapture(stream_->get(), &graph);
    if (graph != nullptr) (void)cudaGraphDestroy(graph);
    (void)cudaGetLastError();
    throw;
  }
  check(cudaStreamEndCapture(stream_->get(), &graph), "ending a recording");
  const std::unique_ptr<std::remove_pointer_t<cudaGraph_t>, FreeGraph> owned(graph);
  return std::make_unique<CudaRecording>(stream_, graph);
}

}  // namespace nll::cuda
