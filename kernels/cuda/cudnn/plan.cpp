#include "kernels/cuda/cudnn/plan.h"

#include <algorithm>

namespace nll::cuda {
namespace {

// The configurations that the library recommends, best first.
std::vector<Descriptor> configurations(const CudnnLibrary& library, const Descriptor& graph, const Descriptor* device,
                                       cudnnBackendHeurMode_t mode) {
  Descriptor heuristic(library, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristic.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  heuristic.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
  if (device != nullptr) heuristic.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, *device);
  if (heuristic.try_to_finish() != CUDNN_STATUS_SUCCESS) return {};  // it has no opinion of such graphs
  const std::int64_t count = heuristic.get(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, nullptr);
  std::vector<Descriptor> results;
  std::vector<cudnnBackendDescriptor_t> places;
  for (std::int64_t i = 0; i < count; ++i) {
    places.push_back(results.emplace_back(library, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).get());
  }
  const std::int64_t filled =
      count == 0 ? 0
                 : heuristic.get(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, count, places.data());
  while (static_cast<std::int64_t>(results.size()) > filled) results.pop_back();
  return results;
}

struct Engine {
  std::int64_t number = -1;
  bool nondeterministic = false;
};

Engine engine_of(const CudnnLibrary& library, const Descriptor& configuration) {
  const Descriptor engine(library, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t place = engine.get();
  configuration.get(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &place);
  Engine found;
  engine.get(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &found.number);
  cudnnBackendNumericalNote_t notes[64] = {};
  const std::int64_t count =
      engine.get(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, std::size(notes), notes);
  found.nondeterministic = std::count(notes, notes + std::min<std::int64_t>(count, std::size(notes)),
                                      CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC) > 0;
  return found;
}

}  // namespace

std::optional<Plan> Plan::find(const CudnnLibrary& library, const Descriptor& graph, const Descriptor* device,
                               bool deterministic, std::string* why) {
  CHECK(why != nullptr);
  *why = "";
  bool refused = false;
  for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    for (const Descriptor& configuration : configurations(library, graph, device, mode)) {
      const Engine engine = engine_of(library, configuration);
      if (deterministic && engine.nondeterministic) {
        refused = true;
        continue;
      }
      Descriptor descriptor(library, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
      descriptor.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration);
      if (descriptor.try_to_finish() != CUDNN_STATUS_SUCCESS) {
        *why = library.last_error();
        continue;
      }
      Plan plan(library, std::move(descriptor));
      plan.engine_ = engine.number;
      plan.plan_.get(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &plan.workspace_bytes_);
      return plan;
    }
    if (why->empty()) *why = library.last_error();
  }
  if (why->empty() && refused) *why = "only engines whose sums have no fixed order";
  return std::nullopt;
}

void Plan::run(cudnnHandle_t handle, const std::vector<Binding>& bindings, void* workspace) const {
  std::vector<std::int64_t> ids;
  std::vector<const void*> places;
  for (const Binding& binding : bindings) {
    ids.push_back(binding.id);
    places.push_back(binding.place);
  }
  const auto count = static_cast<std::int64_t>(bindings.size());
  Descriptor pack(library_, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, ids.data());
  pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count, places.data());
  pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
  pack.finish();
  library_.check(library_.execute(handle, plan_.get(), pack.get()), "queueing cuDNN's attention");
}

}  // namespace nll::cuda
