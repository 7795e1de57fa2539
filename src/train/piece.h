// Piece: work of the device that is done the same way each time: run once, then recorded and replayed.
#pragma once
#include <functional>
#include <memory>

#include "kernels/device.h"

namespace nll {

class Piece {
 public:
  // Queues `work`, which is the same at each call. Recorded from its second time on where `record` is set.
  void run(Device& device, bool record, const std::function<void()>& work) {
    if (recording_ == nullptr) {
      if (!warm_ || !record) {
        warm_ = true;
        return work();
      }
      recording_ = device.record(work);
    }
    recording_->replay();
  }

 private:
  bool warm_ = false;
  std::unique_ptr<Recording> recording_;
};

}  // namespace nll
