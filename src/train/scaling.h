// Scaling: what a training step costs more because ranks share it, by a model of the wires between them. A model, not a
// measurement: docs/scaling.md says what is left out. All of it is in this header.
//
// R ranks, G of them on a host, b bytes of a bucket. Messages go straight from rank to rank (decision 6), so in one
// operation a rank sends G - 1 of them inside its host and R - G to other hosts, of b / R bytes each, and receives as
// many. The two kinds of wires work side by side, messages on one follow each other (Hockney, 1994: latency and
// bandwidth).
#pragma once
#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "kernels/ops.h"
#include "src/dist/collective.h"

namespace nll {

// As one rank has it, each way.
struct Wire {
  double latency = 0;    // seconds that a message takes on top of its bytes
  double bandwidth = 0;  // bytes a second
  double seconds(double messages, double bytes) const { return messages * latency + bytes / bandwidth; }
};

struct Interconnect {
  std::int64_t ranks_per_host = 1;
  Wire inside, outside;  // a host; to other hosts
};

struct ScalingRequest {
  std::int64_t ranks = 1;
  std::vector<std::int64_t> buckets;  // elements of each, in the order in which the backward pass completes them
  std::int64_t wire_bytes = 4;        // of a gradient on its way
  bool sharded = true;
  std::int64_t micro_batches = 1;
  double forward = 0, backward = 0;  // seconds of a micro-batch
  double update = 0;                 // seconds of an update of all weights by one rank
};

// Sent by one rank in a step (as much arrives), without the few bytes of norms and agreement.
struct Volume {
  double gradients = 0, weights = 0;  // bytes; unsharded moments: `weights` are gradients on their way back
  double gradients_outside = 0, weights_outside = 0;  // to other hosts
};

struct Scaling {
  double reduce = 0, gather = 0;                  // seconds on the wires
  double exposed_reduce = 0, exposed_gather = 0;  // of them, not behind a pass
  double norm = 0;     // sums of squares and whether losses are finite, between reduction and update
  double control = 0;  // agreement before each micro-batch and at the end
  double compute = 0;  // passes and update
  double efficiency = 1;
  double waiting() const { return exposed_reduce + exposed_gather + norm + control; }
  double step() const { return compute + waiting(); }
};

inline std::int64_t neighbours(const Interconnect& wires, std::int64_t ranks) {
  return std::min(wires.ranks_per_host, ranks);
}

// One all-to-all of parts, or all-gather, of `bytes`.
inline double operation_seconds(const Interconnect& wires, std::int64_t ranks, double bytes) {
  if (ranks == 1) return 0;
  const double R = static_cast<double>(ranks), G = static_cast<double>(neighbours(wires, ranks));
  const double inside = G > 1 ? wires.inside.seconds(G - 1, (G - 1) / R * bytes) : 0;
  const double outside = R > G ? wires.outside.seconds(R - G, (R - G) / R * bytes) : 0;
  return std::max(inside, outside);
}

// One exchange of a few bytes: ceil(log2 R) rounds.
inline double exchange_seconds(const Interconnect& wires, std::int64_t ranks) {
  double rounds = 0;
  for (std::int64_t reached = 1; reached < ranks; reached *= 2) rounds += 1;
  return rounds * (ranks > wires.ranks_per_host ? wires.outside.latency : wires.inside.latency);
}

inline Volume volume(const ScalingRequest& request, const Interconnect& wires) {
  const double R = static_cast<double>(request.ranks), G = static_cast<double>(neighbours(wires, request.ranks));
  const double elements =
      static_cast<double>(std::accumulate(request.buckets.begin(), request.buckets.end(), std::int64_t{0}));
  const double gradients = elements * static_cast<double>(request.wire_bytes), weights = elements * 4;
  return {(R - 1) / R * gradients, (R - 1) / R * weights, (R - G) / R * gradients, (R - G) / R * weights};
}

inline Scaling scaling(const ScalingRequest& request, const Interconnect& wires) {
  const std::int64_t ranks = request.ranks;
  const double R = static_cast<double>(ranks), micro = static_cast<double>(request.micro_batches);
  Scaling result;
  double last_reduce = 0, last_gather = 0;
  for (const std::int64_t elements : request.buckets) {
    const double size = static_cast<double>(elements);
    last_reduce = operation_seconds(wires, ranks, size * static_cast<double>(request.wire_bytes));
    last_gather = operation_seconds(wires, ranks, size * 4);
    result.reduce += last_reduce;
    result.gather += last_gather;
    if (request.sharded) result.norm += operation_seconds(wires, ranks, size / Ops::norm_block * sizeof(double));
  }
  // All buckets but the last travel behind the last micro-batch's backward pass. The last one holds the embedding and
  // the first layers, so its weights are the first that the next forward pass waits for; the others come behind that.
  result.exposed_reduce = last_reduce + std::max(0.0, result.reduce - last_reduce - request.backward);
  result.exposed_gather =
      request.sharded ? last_gather + std::max(0.0, result.gather - last_gather - request.forward) : result.gather;
  result.norm += operation_seconds(wires, ranks, R * sizeof(float));
  if (ranks > 1) result.control = (micro + 1) * exchange_seconds(wires, ranks);
  const double passes = micro * (request.forward + request.backward);
  result.compute = passes + (request.sharded ? request.update / R : request.update);
  result.efficiency = (R * passes + request.update) / (R * result.step());
  return result;
}

}  // namespace nll
