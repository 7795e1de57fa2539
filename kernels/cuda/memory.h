// Memory of the GPU and pinned memory of the host, as Buffers that are freed when the stream is idle.
#pragma once
#include <cstdint>

#include "kernels/cuda/stream.h"
#include "kernels/device.h"

namespace nll::cuda {

// Not initialised; aligned to 256 bytes at least. Throws Error(resources) with the size and what is free. 0 bytes: no
// buffer. Nothing may be recorded meanwhile.
Buffer device_memory(const Stream& stream, std::int64_t bytes);
// The same, but no buffer where there is no room.
Buffer device_memory_if_there_is_room(const Stream& stream, std::int64_t bytes);
// Pinned memory of the host, not initialised.
Buffer host_memory(const Stream& stream, std::int64_t bytes);

}  // namespace nll::cuda
