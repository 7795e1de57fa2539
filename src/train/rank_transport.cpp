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

std::int64_t available_memory(const DeviceInfo& device, const Config& config, const World& world) {
  const bool own = device.kind == "cuda" && !config.dist.share_gpu;
  return own ? device.available_memory_bytes : device.available_memory_bytes / world.local_size;
}

void check_transport(const Config& config, const DeviceInfo& device) {
  if (config.dist.transport != "nccl" || device.kind == "cuda") return;
  throw Error(Exit::usage, "dist.transport: nccl carries the memory of GPUs, and this run is on a CPU",
              "--set dist.transport=auto");
}

std::shared_ptr<Transport> tensor_transport(std::shared_ptr<Transport> host, const Config& config, Backend& backend) {
  const bool gpu = backend.device->info().kind == "cuda";
  const std::string& asked = config.dist.transport;
  // Asked for by name it is opened for one rank too, though nothing travels: so a machine with one GPU can try it.
  const bool alone = host->world().size == 1;
  if (!gpu || (alone && asked != "nccl")) return host;
  if (asked == "host") return staged(std::move(host), *backend.device);
  return nccl_transport(std::move(host), *backend.device, asked == "nccl" && config.dist.share_gpu);
}

}  // namespace nll
