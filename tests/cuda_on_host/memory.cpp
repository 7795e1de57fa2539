#include "tests/cuda_on_host/memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "tests/cuda_on_host/pretended_gpu.h"
#include "tests/cuda_on_host/queue.h"
#include "tests/cuda_on_host/running_count.h"

namespace nll::cuda_on_host {

Memory& memory() {
  static Memory only;
  return only;
}

void* Memory::allocate(std::size_t bytes, Place place) {
  void* block = nullptr;
  if (posix_memalign(&block, 512, bytes) != 0) return nullptr;
  std::memset(block, 0xff, bytes);
  blocks_.emplace(static_cast<const unsigned char*>(block), Block{bytes, place});
  totals_[static_cast<int>(place)] += bytes;
  return block;
}

bool Memory::release(void* block, Place place) {
  const auto found = blocks_.find(static_cast<const unsigned char*>(block));
  if (found == blocks_.end() || found->second.place != place) return false;
  totals_[static_cast<int>(place)] -= found->second.bytes;
  blocks_.erase(found);
  std::free(block);
  return true;
}

bool Memory::holds(const void* at, std::size_t bytes, Place place) const {
  const auto* const begin = static_cast<const unsigned char*>(at);
  auto after = blocks_.upper_bound(begin);
  if (after == blocks_.begin()) return false;
  --after;
  return after->second.place == place && begin + bytes <= after->first + after->second.bytes;
}

int Memory::blocks(Place place) const {
  return static_cast<int>(
      std::count_if(blocks_.begin(), blocks_.end(), [&](const auto& block) { return block.second.place == place; }));
}

namespace {

// A copy of `height` rows; what it may touch was checked when it was queued.
struct Copy {
  unsigned char* to;
  const unsigned char* from;
  std::size_t to_pitch, from_pitch, width, height;

  std::size_t extent(std::size_t pitch) const { return height == 0 || width == 0 ? 0 : pitch * (height - 1) + width; }
  void run() const {
    for (std::size_t row = 0; row < height; ++row) std::memmove(to + row * to_pitch, from + row * from_pitch, width);
  }
};

cudaError_t queue_copy(Queues& all, Copy copy, cudaMemcpyKind kind, cudaStream_t stream_handle) {
  if (copy.extent(1) == 0) return cudaSuccess;
  const cudaStream_t stream = all.find(stream_handle);
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  const Memory& blocks = memory();
  const bool from_device = blocks.touches(copy.from, Place::device), to_device = blocks.touches(copy.to, Place::device);
  if (kind != cudaMemcpyDefault && (kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice) != to_device) {
    return cudaErrorInvalidValue;
  }
  if (kind != cudaMemcpyDefault &&
      (kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice) != from_device) {
    return cudaErrorInvalidValue;
  }
  if (from_device && !blocks.holds(copy.from, copy.extent(copy.from_pitch), Place::device))
    return cudaErrorInvalidValue;
  if (to_device && !blocks.holds(copy.to, copy.extent(copy.to_pitch), Place::device)) return cudaErrorInvalidValue;
  const bool from_pageable = !from_device && !blocks.touches(copy.from, Place::pinned);
  const bool to_pageable = !to_device && !blocks.touches(copy.to, Place::pinned);
  if ((from_pageable || to_pageable) && stream->capture != nullptr) {
    return all.invalidate(stream->capture, cudaErrorStreamCaptureUnsupported);
  }
  if (from_pageable) {
    // Staged: the caller may change its memory as soon as the call returns.
    auto staged = std::make_shared<std::vector<unsigned char>>(copy.from, copy.from + copy.extent(copy.from_pitch));
    copy.from = staged->data();
    const cudaError_t added = all.add(stream, [copy, staged] { copy.run(); });
    if (added != cudaSuccess) return added;
  } else if (const cudaError_t added = all.add(stream, [copy] { copy.run(); }); added != cudaSuccess) {
    return added;
  }
  if (to_pageable) all.finish(stream);  // returns when the bytes are there
  return cudaSuccess;
}

cudaError_t allocate(void** result, std::size_t bytes, Place place) {
  return call([&](Queues& all) {
    if (const cudaError_t refused = all.refuse_in_capture(); refused != cudaSuccess) return refused;
    *result = nullptr;
    if (bytes == 0) return cudaSuccess;
    PretendedGpu& gpu = pretended_gpu();
    int& failures = place == Place::device ? gpu.failing_mallocs : gpu.failing_host_mallocs;
    if (failures > 0) {
      --failures;
      return cudaErrorMemoryAllocation;
    }
    if (place == Place::device) {
      ++running_count().mallocs;
      if (memory().bytes(place) + bytes > gpu.memory_bytes) return cudaErrorMemoryAllocation;
    }
    *result = memory().allocate(bytes, place);
    return *result != nullptr ? cudaSuccess : cudaErrorMemoryAllocation;
  });
}

cudaError_t release(void* block, Place place) {
  return call_quietly([&](Queues& all) {
    if (block == nullptr) return cudaSuccess;
    if (const cudaError_t refused = all.refuse_in_capture(); refused != cudaSuccess) return refused;
    all.finish_quietly([&] { all.finish_all(); });  // work that uses the block comes first
    return memory().release(block, place) ? cudaSuccess : cudaErrorInvalidValue;
  });
}

}  // namespace
}  // namespace nll::cuda_on_host

using nll::cuda_on_host::call;
using nll::cuda_on_host::Copy;
using nll::cuda_on_host::Place;
using nll::cuda_on_host::Queues;

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  return nll::cuda_on_host::allocate(memory, bytes, Place::device);
}
cudaError_t cudaFree(void* memory) { return nll::cuda_on_host::release(memory, Place::device); }
cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned) {
  return nll::cuda_on_host::allocate(memory, bytes, Place::pinned);
}
cudaError_t cudaMallocHost(void** memory, std::size_t bytes, unsigned flags) {
  return cudaHostAlloc(memory, bytes, flags);
}
cudaError_t cudaFreeHost(void* memory) { return nll::cuda_on_host::release(memory, Place::pinned); }

cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                              std::size_t width_bytes, std::size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  return call([&](Queues& all) {
    if (width_bytes > to_pitch || width_bytes > from_pitch) return cudaErrorInvalidPitchValue;
    const Copy copy{static_cast<unsigned char*>(to),
                    static_cast<const unsigned char*>(from),
                    to_pitch,
                    from_pitch,
                    width_bytes,
                    height};
    return nll::cuda_on_host::queue_copy(all, copy, kind, stream);
  });
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return cudaMemcpy2DAsync(to, bytes, from, bytes, bytes, 1, kind, stream);
}
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  return call([&](Queues& all) {
    if (const cudaError_t refused = all.refuse_in_capture(); refused != cudaSuccess) return refused;
    const cudaError_t queued = cudaMemcpyAsync(to, from, bytes, kind, nullptr);
    if (queued == cudaSuccess) all.finish(all.find(nullptr));
    return queued;
  });
}

cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t stream) {
  return call([&](Queues& all) {
    if (bytes == 0) return cudaSuccess;
    const auto& blocks = nll::cuda_on_host::memory();
    if (!blocks.holds(memory, bytes, Place::device) && !blocks.holds(memory, bytes, Place::pinned)) {
      return cudaErrorInvalidValue;
    }
    return all.add(stream, [=] { std::memset(memory, value, bytes); });
  });
}
cudaError_t cudaMemset(void* memory, int value, std::size_t bytes) {
  return cudaMemsetAsync(memory, value, bytes, nullptr);
}

cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  return call([&](Queues&) {
    const std::size_t used = nll::cuda_on_host::memory().bytes(Place::device);
    *total_bytes = nll::cuda_on_host::pretended_gpu().memory_bytes;
    *free_bytes = *total_bytes > used ? *total_bytes - used : 0;
    return cudaSuccess;
  });
}
