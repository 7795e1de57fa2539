#include "kernels/cuda/scratch.h"

#include <algorithm>

#include "kernels/cuda/memory.h"

namespace nll::cuda {

void* Scratch::get(std::int64_t bytes) {
  CHECK(bytes >= 0);
  if (buffers_.empty() || buffers_.back().bytes() < bytes) {
    // Whole megabytes, so that requests which differ a little do not each leave a buffer behind.
    constexpr std::int64_t unit = std::int64_t{1} << 20;
    CHECK(!stream_.capturing());
    buffers_.push_back(device_memory(stream_, std::max(unit, (bytes + unit - 1) / unit * unit)));
  }
  return buffers_.back().data();
}

}  // namespace nll::cuda
