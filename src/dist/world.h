// World: which process of a job this is.
#pragma once
#include <string>

namespace nll {

struct World {
  int rank = 0, size = 1;              // in the whole job
  int local_rank = 0, local_size = 1;  // among the processes on this host; chooses the GPU
  std::string host;
};

}  // namespace nll
