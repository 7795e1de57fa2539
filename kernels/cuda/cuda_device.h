// CudaDevice: memory of one GPU, and its queue of work. Everything is queued on one stream, in the order of the calls.
#pragma once
#include <array>
#include <memory>

#include "kernels/cuda/stream.h"
#include "kernels/device.h"

namespace nll::cuda {

class CudaDevice : public Device {
 public:
  explicit CudaDevice(std::shared_ptr<Stream> stream) : stream_(std::move(stream)) {}

  DeviceInfo info() const override;
  // Aligned to 256 bytes at least.
  Buffer allocate(std::int64_t bytes) override;
  Buffer allocate_host(std::int64_t bytes) override;
  void upload(Tensor destination, const void* source) override;
  void download(void* destination, Tensor source) override;
  void download_later(void* destination, Tensor source) override;
  void copy(Tensor destination, Tensor source) override;
  void zero(Tensor destination) override;
  void synchronize() override;
  std::uint64_t mark() override;
  void wait(std::uint64_t mark) override;
  std::unique_ptr<Recording> record(std::function<void()> work) override;

  void* queue() const override { return stream_->get(); }

 private:
  // A mark's event is used again for the mark this many later; who waits for the old one then waits for the new one,
  // which is later, so that nothing is missed.
  static constexpr std::uint64_t ring = 64;

  std::shared_ptr<Stream> stream_;
  std::array<Event, ring> events_;
  std::uint64_t marks_ = 0, reached_ = 0;  // given out; known to be over
};

}  // namespace nll::cuda
