// A transport with one fault in it: for tests of what a job does when one rank, one message or one memory cell goes
// wrong.
#pragma once
#include <cstdint>
#include <memory>
#include <stop_token>

#include "src/dist/transport.h"

namespace nll {

struct Fault {
  enum class Kind {
    delay,   // this rank begins the operation so many seconds late
    hang,    // it does not begin it, for so many seconds (0: for ever) or until `release`
    drop,    // it leaves the operation out and goes on as if it were done
    corrupt  // the sign of the first number that arrives from another rank is flipped
  };
  Kind kind = Kind::delay;
  std::int64_t operation = 1;  // the n-th one of this transport, from 1; exchanges count too
  double seconds = 0;
  std::stop_token release = {};
};

// `inner` carries host memory.
std::shared_ptr<Transport> faulty(std::shared_ptr<Transport> inner, Fault fault);

}  // namespace nll
