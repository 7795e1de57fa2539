// Launch: how the processes of a job were started and find each other, read from the environment that the launcher
// (mpirun, srun, torchrun) gave them.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "kernels/device.h"
#include "src/dist/transport.h"

namespace nll {

// Value of an environment variable; nullptr: not set.
using Environment = std::function<const char*(const char* name)>;

struct Launch {
  enum class Kind {
    alone,     // one process
    mpi,       // mpirun, or srun with PMIx: MPI knows the ranks
    addresses  // torchrun's variables, or Slurm's with MASTER_ADDR and MASTER_PORT: a TCP rendezvous
  };
  Kind kind = Kind::alone;
  std::string launcher;  // "mpirun", "srun", "torchrun", for messages
  World world;           // as the environment says; MPI has the last word on its own
  std::string address;   // of rank 0
  int port = 0;
  std::string job;  // what distinguishes this job from a stale or foreign one
};

// Error(usage) names the variable that makes no sense.
Launch detect_launch(const Environment& environment);

// Meets the other ranks; host memory only. Error(usage) where this build or machine lacks what the launch needs,
// Error(peer_lost) where they do not come within the limit. A job of more than one process that would become several
// jobs of one each is an error too.
std::shared_ptr<Transport> connect(const Launch& launch, double limit_seconds);

// MPI, from the plugin libnll_mpi.so beside the program. Error(usage) where it cannot be opened.
std::shared_ptr<Transport> mpi_transport(double limit_seconds);
// Rendezvous at rank 0's address; every message passes through rank 0, so this is for control and small jobs.
std::shared_ptr<Transport> tcp_transport(const Launch& launch, double limit_seconds);
// NCCL for tensors, `host` for everything else. Error(usage) where this build has no CUDA or no NCCL is found, and
// where two ranks are on one GPU; with `share_gpu` that is left to NCCL, which refuses too unless it is told otherwise.
std::shared_ptr<Transport> nccl_transport(std::shared_ptr<Transport> host, Device& device, bool share_gpu = false);

}  // namespace nll
