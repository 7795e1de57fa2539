// Device: where tensors live. Buffer is the only owner of memory, and bytes are moved here only.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "kernels/tensor.h"

namespace nll {

struct DeviceInfo {
  std::string kind;                         // "cpu", "cuda"
  bool asynchronous = false;                // work goes on after an op has returned
  std::string name;                         // "Intel Xeon Processor, 2 threads, avx512"
  std::string instructions;                 // CPU: "avx512", "avx2", "generic"
  int threads = 1;                          // CPU: size of the thread team
  std::int64_t memory_bytes = 0;            // all of it
  std::int64_t available_memory_bytes = 0;  // free now (CPU: the smaller of MemAvailable and the cgroup's limit)
  int compute_capability = 0;               // GPU: 90 for 9.0; CPU: 0
  int multiprocessors = 0;                  // GPU
  std::int64_t cache_bytes = 0;             // GPU: its L2
  std::string software;                     // GPU: "driver 13.0, runtime 13.0, cuBLASLt 13.1"
};

// Owns one allocation on a device; zero-filled when made; freed when destroyed. Move-only.
class Buffer {
 public:
  Buffer() = default;
  Buffer(void* data, std::int64_t bytes, void (*release)(void*, std::int64_t))
      : data_(data), bytes_(bytes), release_(release) {}
  // The same where freeing takes more than the address: `owner` is let go of instead.
  Buffer(void* data, std::int64_t bytes, std::shared_ptr<void> owner)
      : data_(data), bytes_(bytes), owner_(std::move(owner)) {}
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    Buffer gone(std::move(other));
    swap(gone);
    return *this;
  }
  ~Buffer() {
    if (release_ != nullptr) release_(data_, bytes_);
  }
  std::int64_t bytes() const { return bytes_; }
  void* data() const { return data_; }
  // A tensor at a byte offset of this buffer; it must fit.
  Tensor tensor(std::int64_t offset_bytes, DType type, std::initializer_list<std::int64_t> dims) const {
    CHECK(offset_bytes >= 0);
    Tensor view(static_cast<std::uint8_t*>(data_) + offset_bytes, type, dims);
    CHECK(offset_bytes + view.bytes() <= bytes_);
    return view;
  }

 private:
  void swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(release_, other.release_);
    std::swap(owner_, other.owner_);
  }
  void* data_ = nullptr;
  std::int64_t bytes_ = 0;
  void (*release_)(void*, std::int64_t) = nullptr;
  std::shared_ptr<void> owner_;
};

// Work that was recorded once and can be done again: the same ops on the same memory.
class Recording {
 public:
  virtual ~Recording() = default;
  virtual void replay() = 0;  // queued in order like any op
};

class Device {
 public:
  virtual ~Device() = default;
  virtual DeviceInfo info() const = 0;
  // Zero-filled, aligned to 4096 bytes (GPU: 256). Throws Error(resources) naming the size when there is no room.
  virtual Buffer allocate(std::int64_t bytes) = 0;
  // Memory of the host that uploads and late downloads go to and from while the host goes on (pinned). Zero-filled.
  virtual Buffer allocate_host(std::int64_t bytes) = 0;
  // Work is queued in order; upload and copy may return before it is done, download and synchronize do not. A source
  // in memory of allocate_host must stay as it is until a mark behind the upload is reached; any other is free on
  // return.
  virtual void upload(Tensor destination, const void* source) = 0;
  virtual void download(void* destination, Tensor source) = 0;
  // Queued like an op: `destination`, in memory of allocate_host, is there when a mark behind it is reached.
  virtual void download_later(void* destination, Tensor source) = 0;
  virtual void copy(Tensor destination, Tensor source) = 0;  // same type and size
  virtual void zero(Tensor destination) = 0;
  virtual void synchronize() = 0;
  // A point in the queue, and waiting until all that was queued before it is done. Marks count upwards.
  virtual std::uint64_t mark() = 0;
  virtual void wait(std::uint64_t mark) = 0;
  // Queues what `work` calls, and only that, into a recording (a CUDA graph); nothing of it is done now. `work` has
  // run once before (the first run of an op may allocate and choose algorithms), uses no host memory and does not wait.
  // On a CPU a recording calls `work`.
  virtual std::unique_ptr<Recording> record(std::function<void()> work) = 0;
  // The cudaStream_t of a GPU's queue, for a library that queues work of its own (NCCL); nullptr: there is none.
  virtual void* queue() const { return nullptr; }
};

struct Ops;

struct BackendOptions {
  int threads = 0;           // CPU: 0 = one for each core this process may use
  std::string instructions;  // CPU: "" = the best this processor has, or one of those in DeviceInfo (tests run each)
  int gpu = 0;               // GPU: which of those this process sees
  bool share_gpu = false;    // GPU: `gpu` counts modulo their number
  bool tf32 = false;         // GPU: FP32 matrix products round their factors to TF32
  std::string attention = "auto";  // GPU: auto, own, cudnn
  std::string product_cache;       // GPU: file of the chosen matrix-product algorithms; "" = none is kept
  bool product_tuning = true;      // GPU: algorithms are timed on first use; false: the library's first choice
  bool deterministic = true;       // GPU: only algorithms whose sums have a fixed order
};

inline BackendOptions cpu_options(int threads, std::string instructions = {}) {
  BackendOptions options;
  options.threads = threads;
  options.instructions = std::move(instructions);
  return options;
}

// kind: "cpu", "cuda", or "auto" = a GPU where this build has CUDA and one is usable, else the CPU.
struct Backend {
  std::unique_ptr<Device> device;
  std::unique_ptr<Ops> ops;
  Backend(std::unique_ptr<Device> device, std::unique_ptr<Ops> ops);
  Backend(Backend&&) noexcept;
  ~Backend();
};
Backend make_backend(const std::string& kind, const BackendOptions& options = {});
// What this build has: "cpu", or "cpu, cuda".
std::string backends();
// How "cuda" is made. A build with CUDA knows; a program that runs the CUDA kernels on the host says so here.
using BackendFactory = Backend (*)(const BackendOptions&);
void set_cuda_backend(BackendFactory factory);

}  // namespace nll
