// Patience: a longer limit for waits while one rank does something for all: saves, opens a checkpoint, samples.
#pragma once
#include "src/dist/transport.h"

namespace nll {

class Patience {
 public:
  // Times the limit of other waits: 30 minutes for 5.
  static constexpr double factor = 6;

  // On all ranks alike. Ends with the object; the ranks meet once more before, so that nobody waits for one that is
  // still busy with less patience.
  explicit Patience(Transport& transport) : transport_(transport), limit_(transport.limit_seconds()) {
    transport_.set_limit(factor * limit_);
  }
  ~Patience() { transport_.set_limit(limit_); }
  Patience(const Patience&) = delete;
  Patience& operator=(const Patience&) = delete;

 private:
  Transport& transport_;
  const double limit_;
};

}  // namespace nll
