// Tensors in the memory of a GPU over a transport that knows host memory only: they pass through pinned memory of the
// host, so two ranks can share one GPU, and ranks need no library but the host's.
#pragma once
#include <memory>

#include "kernels/device.h"
#include "src/dist/transport.h"

namespace nll {

// The tensors are of `device`, which outlives the transport. What is sent is downloaded when an operation starts, so
// starting waits for the device; what arrives is queued for upload by wait(). Pinned memory: as much as the operations
// take that are on their way at the same time; it grows with the first ones and is kept.
std::shared_ptr<Transport> staged(std::shared_ptr<Transport> host, Device& device);

}  // namespace nll
