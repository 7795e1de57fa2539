// A Transport over the connections of a rendezvous. Everything passes through rank 0, one operation at a time: simple,
// correct and slow, for control, for small jobs and beside a transport that carries the tensors (NCCL).
//
// Rank 0 knows who is missing, so it speaks first: on a failure it tells all the others, and everybody throws the same
// text. The others wait for it 2 s longer than the limit.
#pragma once
#include <memory>

#include "src/dist/rendezvous.h"
#include "src/dist/transport.h"

namespace nll {

// Used by one thread. Host memory only. An operation is over when the call that starts it returns. `abort` tells the
// others, whose operations throw, and returns.
std::shared_ptr<Transport> tcp_transport(Meeting meeting, double limit_seconds);

}  // namespace nll
