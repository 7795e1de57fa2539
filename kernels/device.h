// Device: where tensors live. Buffer is the only owner of memory, and bytes are moved here only.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "kernels/tensor.h"

namespace nll {

struct DeviceInfo {
  std::string kind;                         // "cpu", "cuda"
  std::string name;                         // "Intel Xeon Processor, 2 threads, avx512"
  std::string instructions;                 // CPU: "avx512", "avx2", "generic"
  int threads = 1;                          // CPU: size of the thread team
  std::int64_t memory_bytes = 0;            // all of it
  std::int64_t available_memory_bytes = 0;  // free now (CPU: the smaller of MemAvailable and the cgroup's limit)
};

// Owns one allocation on a device; zero-filled when made; freed when destroyed. Move-only.
class Buffer {
 public:
  Buffer() = default;
  Buffer(void* data, std::int64_t bytes, void (*release)(void*, std::int64_t))
      : data_(data), bytes_(bytes), release_(release) {}
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    Buffer gone(std::move(other));
    swap(gone);
    return *this;
  }
  ~Buffer() {
    if (data_ != nullptr) release_(data_, bytes_);
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
  }
  void* data_ = nullptr;
  std::int64_t bytes_ = 0;
  void (*release_)(void*, std::int64_t) = nullptr;
};

class Device {
 public:
  virtual ~Device() = default;
  virtual DeviceInfo info() const = 0;
  // Zero-filled, aligned to 4096 bytes. Throws Error(resources) naming the size when there is no room.
  virtual Buffer allocate(std::int64_t bytes) = 0;
  // Work is queued in order; upload and copy may return before it is done, download and synchronize do not.
  virtual void upload(Tensor destination, const void* source) = 0;
  virtual void download(void* destination, Tensor source) = 0;
  virtual void copy(Tensor destination, Tensor source) = 0;  // same type and size
  virtual void zero(Tensor destination) = 0;
  virtual void synchronize() = 0;
};

struct Ops;

// kind: "cpu", or "auto" = the best there is. threads: 0 = one for each core this process may use.
// instructions: "" = the best this processor has, or one of those in DeviceInfo (tests run each).
struct Backend {
  std::unique_ptr<Device> device;
  std::unique_ptr<Ops> ops;
  Backend(std::unique_ptr<Device> device, std::unique_ptr<Ops> ops);
  Backend(Backend&&) noexcept;
  ~Backend();
};
Backend make_backend(const std::string& kind, int threads = 0, const std::string& instructions = {});

}  // namespace nll
