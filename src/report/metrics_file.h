// metrics.jsonl: one event a line, flushed at each, so that a crash loses at most a torn last line.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "src/report/event.h"

namespace nll {

class MetricsFile {
 public:
  // Opens RUN/metrics.jsonl for appending. On a resume at `resume_step`, a torn last line and everything that came
  // after that step's update (its checkpoint, validation and sample too: they are done again) are dropped first (by
  // writing a new file and renaming it), so the file tells one story.
  MetricsFile(const std::string& path, std::optional<std::int64_t> resume_step);
  ~MetricsFile();
  MetricsFile(const MetricsFile&) = delete;
  MetricsFile& operator=(const MetricsFile&) = delete;
  void append(const Event& event);  // Error(io) when it cannot be written

 private:
  int descriptor_ = -1;
  std::string path_;
};

// Whether an event is part of the story of a run that was resumed at `step`: what follows a save at its own step
// (checkpoint, validation, sample) is done again, and everything after it too.
bool survives_resume(const Event& event, std::int64_t step);

// All events of a metrics.jsonl; a torn last line is left out. Error(bad_data) names file and line.
std::vector<Event> read_metrics(const std::string& path);

// Draws the training and validation loss over steps (and the learning rate below) as one self-contained SVG file with
// axes, units and legend, readable in light and dark.
void write_loss_plot(const std::vector<Event>& events, const std::string& title, const std::string& svg_path);

}  // namespace nll
