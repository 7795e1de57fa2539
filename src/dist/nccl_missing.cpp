// nccl_transport of a build without NCCL; nccl.cpp has the other one.
#ifndef NLL_NCCL
#include "src/dist/launch.h"

namespace nll {

std::shared_ptr<Transport> nccl_transport(std::shared_ptr<Transport>, Device&, bool) {
  throw Error(Exit::usage, "dist.transport: this build has no NCCL (it was made without CUDA or without nccl.h)",
              "build with the preset cuda where nccl.h is found, or --set dist.transport=host");
}

}  // namespace nll
#endif
