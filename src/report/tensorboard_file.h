// TensorBoard's event file: what a run reports, for `tensorboard --logdir`.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "src/report/event.h"

namespace nll {

class TensorboardFile {
 public:
  using Clock = std::function<double()>;  // seconds since 1970

  // Starts a new file in `folder`, which is made when it is missing. Its name sorts behind those of earlier starts, and
  // readers forget what those said of steps after `step`. Throws Error(io).
  TensorboardFile(const std::string& folder, std::int64_t step, Clock clock);
  ~TensorboardFile();
  TensorboardFile(const TensorboardFile&) = delete;
  TensorboardFile& operator=(const TensorboardFile&) = delete;
  void append(const Event& event);  // in the file when this returns; Error(io) when it cannot be written

 private:
  void write(const std::string& message);
  int descriptor_ = -1;
  std::string path_;
  Clock clock_;
};

// Seconds since 1970 by the machine's clock.
double seconds_since_epoch();

}  // namespace nll
