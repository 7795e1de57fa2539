// A picture of a scaling law: the loss of finished runs over the compute they took, and the law that was fitted to
// them.
#pragma once
#include <string>
#include <vector>

namespace nll {

struct ScalingPoint {
  double compute = 0, loss = 0;  // FLOPs, nats per token; above 0
  std::string name;              // shown where the pointer rests
};
// The runs of one model size, and the law's course for it.
struct ScalingSeries {
  std::string label;
  std::vector<ScalingPoint> runs;
  std::vector<ScalingPoint> fitted;  // rising compute; empty: no law
};
struct ScalingPlot {
  std::string title;
  std::vector<ScalingSeries> series;
  // The least loss that the law has for each compute, and its 95 % interval: rising compute, or empty.
  struct Best {
    double compute = 0, loss = 0, low = 0, high = 0;
  };
  std::vector<Best> best;
};

// One SVG file without any other, both axes logarithmic, light or dark as the reader has it. Throws Error(io).
void write_scaling_plot(const ScalingPlot& plot, const std::string& path);

}  // namespace nll
