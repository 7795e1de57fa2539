// Plan: an engine of cuDNN that computes a graph, made ready to run.
#pragma once
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "kernels/cuda/cudnn/operation_graph.h"

namespace nll::cuda {

// What a tensor of a graph is bound to: device memory, or the host's number.
struct Binding {
  OperationGraph::Id id;
  const void* place;
};

class Plan {
 public:
  // The first engine, in the order of the library's heuristics, that can be made ready; deterministic: of those only
  // that the library does not call nondeterministic (it calls none of attention's so: what decides is the graph).
  // Nothing where there is none; `why` then says what the library said last. Takes up to seconds (kernels are compiled)
  // and device memory: not while a recording is made. `device`: a description of the device where there is no handle,
  // else null.
  static std::optional<Plan> find(const CudnnLibrary& library, const Descriptor& graph, const Descriptor* device,
                                  bool deterministic, std::string* why);

  std::int64_t workspace_bytes() const { return workspace_bytes_; }
  std::int64_t engine() const { return engine_; }  // its number in the library, for reports
  // Queues it on the stream of `handle`. `workspace`: workspace_bytes() of device memory.
  void run(cudnnHandle_t handle, const std::vector<Binding>& bindings, void* workspace) const;

 private:
  Plan(const CudnnLibrary& library, Descriptor plan) : library_(library), plan_(std::move(plan)) {}

  const CudnnLibrary& library_;
  Descriptor plan_;
  std::int64_t workspace_bytes_ = 0, engine_ = -1;
};

}  // namespace nll::cuda
