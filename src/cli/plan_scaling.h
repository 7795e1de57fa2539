// What `nll plan --ranks N` says of more than one rank: what travels, how long that takes, what is left of N times the
// speed of one.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "src/cli/verbs.h"
#include "src/train/plan.h"
#include "src/train/scaling.h"
#include "src/train/speed_of_light.h"

namespace nll {

// What is not said is assumed: see wires_of().
struct ScalingOptions {
  std::optional<double> interconnect;  // GB/s of a host to the others, each way
  std::optional<double> inside;        // GB/s of a rank to those on its host, each way
  std::optional<double> latency;       // microseconds of a message
  std::optional<double> mfu;           // per cent of the published peak (CPU: of the sgemm measured here)
  std::optional<std::int64_t> ranks_per_host;
};
void add_scaling_options(CLI::App& verb, ScalingOptions& options);

struct ScalingEstimate {
  Interconnect wires;
  Volume volume;
  Scaling scaling;
  double latency = 0;            // seconds
  double tokens_per_second = 0;  // of all ranks
  double mfu = 0;                // of the compute, that the estimate rests on
  bool assumed = false;          // that MFU was given
};

// `compute`: a step of one rank, with an update of all weights. `peak`: what MFU is a share of, operations a second.
ScalingEstimate estimate_scaling(const TrainPlan& plan, const Config& config, const StepTime& compute, double peak,
                                 const ScalingOptions& options);
std::string scaling_text(const TrainPlan& plan, const ScalingEstimate& estimate);
nlohmann::ordered_json scaling_json(const ScalingEstimate& estimate);

}  // namespace nll
