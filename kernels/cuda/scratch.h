// Scratch: working memory of ops, given out anew to each op and grown when an op asks for more than there is. It never
// grows while a recording is made: what is recorded has run before. Memory that it outgrew is kept until the end, since
// recordings may use it.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/cuda/stream.h"
#include "kernels/device.h"

namespace nll::cuda {

class Scratch {
 public:
  explicit Scratch(const Stream& stream) : stream_(stream) {}
  // `bytes` of device memory, aligned to 256 bytes, not initialised, until the next call on this scratch. An op that
  // needs several pieces asks once for their sum.
  void* get(std::int64_t bytes);
  template <class T>
  T* get(std::int64_t count) {
    return static_cast<T*>(get(checked_product(count, static_cast<std::int64_t>(sizeof(T)))));
  }

 private:
  const Stream& stream_;
  std::vector<Buffer> buffers_;  // the last one is in use
};

}  // namespace nll::cuda
