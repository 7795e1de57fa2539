// How ranks that share a host share its cores, memory and GPUs, and what carries their tensors.
#pragma once
#include <memory>

#include "kernels/device.h"
#include "src/config/config.h"
#include "src/dist/transport.h"

namespace nll {

// Gives a rank its part of the host: with `cpu.threads` 0 its part of the cores, unless the launcher has bound it to
// some already; and the GPU of its local rank, modulo their number where dist.share_gpu says so.
void share_host(BackendOptions& options, const Config& config, const World& world);

// Memory this rank may plan with: GPUs are its own unless dist.share_gpu says otherwise, a CPU's memory is shared by
// the ranks on the host.
std::int64_t available_memory(const DeviceInfo& device, const Config& config, const World& world);

// Error(usage) where dist.transport cannot carry what is on this device.
void check_transport(const Config& config, const DeviceInfo& device);

// What carries tensors of this device, by dist.transport. `host` carries everything else.
std::shared_ptr<Transport> tensor_transport(std::shared_ptr<Transport> host, const Config& config, Backend& backend);

}  // namespace nll
