// Ranks that are threads of one process: for tests, and for looking at many ranks under a race detector. Each rank
// reads what it needs from the others' memory itself, so copies run side by side.
#pragma once
#include <memory>
#include <vector>

#include "src/dist/transport.h"

namespace nll {

// Transports of the ranks 0 ... size - 1; each is used by one thread, except for abort. Host memory only. After abort,
// or an error on one rank, the others' waits throw Error(peer_lost) with the same text at once, unless all that they
// wait for is there already. A rank whose transport is destroyed has left the job too.
std::vector<std::shared_ptr<Transport>> threads_transports(int size);

}  // namespace nll
