// Where the events of a run go: metrics.jsonl, which must be written, and TensorBoard's file beside it, which may fail.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "src/report/metrics_file.h"
#include "src/report/tensorboard_file.h"

namespace nll {

class EventLog {
 public:
  using Warn = std::function<void(const std::string& line)>;

  // Goes on at `step` with `metrics_path`; see MetricsFile. An empty `tensorboard_folder`: no such file.
  EventLog(const std::string& metrics_path, std::int64_t step, std::string tensorboard_folder, Warn warn,
           TensorboardFile::Clock clock = seconds_since_epoch);
  // Error(io) when metrics.jsonl cannot be written. When TensorBoard's file cannot, warns once and leaves it at that.
  void append(const Event& event);

 private:
  void append_to_tensorboard(const Event& event);
  MetricsFile metrics_;
  std::int64_t step_;
  std::string folder_;  // empty: none, or given up
  Warn warn_;
  TensorboardFile::Clock clock_;
  std::optional<TensorboardFile> tensorboard_;  // made at the first event
};

}  // namespace nll
