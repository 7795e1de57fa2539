#include "src/report/event_log.h"

#include <utility>

#include "kernels/check.h"

namespace nll {

EventLog::EventLog(const std::string& metrics_path, std::int64_t step, std::string tensorboard_folder, Warn warn,
                   TensorboardFile::Clock clock)
    : metrics_(metrics_path, step),
      step_(step),
      folder_(std::move(tensorboard_folder)),
      warn_(std::move(warn)),
      clock_(std::move(clock)) {}

void EventLog::append(const Event& event) {
  metrics_.append(event);
  if (!folder_.empty()) append_to_tensorboard(event);
}

void EventLog::append_to_tensorboard(const Event& event) {
  try {
    if (!tensorboard_) tensorboard_.emplace(folder_, step_, clock_);
    tensorboard_->append(event);
  } catch (const Error& error) {
    tensorboard_.reset();
    folder_.clear();
    warn_(std::string(error.what()) + "; the run goes on without TensorBoard's file");
  }
}

}  // namespace nll
