#include "src/train/rank_transport.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>

#include "src/dist/launch.h"
#include "src/dist/staged.h"

namespace nll {

void share_host(BackendOptions& options, const Config& config, const World& world) {
  options.gpu = world.local_rank;
  options.share_gpu = config.dist.share_gpu;
  if (world.local_size == 1 || options.threads > 0) return;
  cpu_set_t allowed;
  const long online = sysconf(_SC_NPROCESSORS_ONLN);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  const int cores = CPU_COUNT(&allowed);
  options.threads = cores < online ? cores : std::max(1, cores / world.local_size);
}

std::int64_t available_memory(const DeviceInfo& device, const World& world) {
  return device.kind == "cuda" ? device.available_memory_bytes : device.available_memory_bytes / world.local_size;
}

std::shared_ptr<Transport> tensor_transport(std::shared_ptr<Transport> host, const Config& config, Backend& backend) {
  if (host->world().size == 1) return host;
  const bool gpu = backend.device->info().kind == "cuda";
  const std::string& asked = config.dist.transport;
  if (asked == "nccl" && !gpu) {
    throw Error(Exit::usage, "dist.transport: nccl carries the memory of GPUs, and this run is on a CPU",
                "--set dist.transport=auto");
  }
  if (!gpu) return host;
  if (asked == "nccl" || asked == "auto") return nccl_transport(std::move(host), *backend.device);
  return staged(std::move(host), *backend.device);
}

}  // namespace nll
