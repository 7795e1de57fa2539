// CUDA's streams, events and graphs, on the queues.
#include "tests/cuda_on_host/pretended_gpu.h"
#include "tests/cuda_on_host/queue.h"
#include "tests/cuda_on_host/running_count.h"

using nll::cuda_on_host::call;
using nll::cuda_on_host::call_quietly;
using nll::cuda_on_host::Queues;

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  return call([&](Queues& all) {
    if (flags > cudaStreamNonBlocking) return cudaErrorInvalidValue;
    *stream = new CUstream_st;
    (*stream)->flags = flags;
    all.streams_.insert(*stream);
    return cudaSuccess;
  });
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return cudaStreamCreateWithPriority(stream, flags, 0);
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithPriority(stream, cudaStreamDefault, 0);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return call_quietly([&](Queues& all) {
    if (all.streams_.count(stream) == 0) return cudaErrorInvalidResourceHandle;
    all.finish_quietly([&] { all.finish(stream); });
    if (stream->capture != nullptr) stream->capture->invalid = true;
    all.streams_.erase(stream);
    delete stream;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  return call([&](Queues& all) {
    const cudaStream_t stream = all.find(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (stream->capture != nullptr) return all.invalidate(stream->capture, cudaErrorStreamCaptureUnsupported);
    if (const cudaError_t refused = all.refuse_in_capture(); refused != cudaSuccess) return refused;
    all.finish(stream);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  return call([&](Queues& all) {
    const cudaStream_t stream = all.find(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (stream->capture != nullptr) return all.invalidate(stream->capture, cudaErrorStreamCaptureUnsupported);
    if (const cudaError_t refused = all.refuse_in_capture(); refused != cudaSuccess) return refused;
    if (stream->queue.empty()) return cudaSuccess;
    all.finish(stream);
    return cudaErrorNotReady;  // as of when it was asked; the next answer will be another
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  return call([&](Queues& all) { return all.wait(stream, event); });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return call([&](Queues& all) { return all.add(stream, [function, data] { function(data); }); });
}

cudaError_t cudaDeviceSynchronize() {
  return call([&](Queues& all) {
    if (const cudaError_t refused = all.refuse_in_capture(); refused != cudaSuccess) return refused;
    ++nll::cuda_on_host::running_count().device_synchronizations;
    all.finish_all();
    return cudaSuccess;
  });
}

// ---- events

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return call([&](Queues& all) {
    *event = new CUevent_st;
    (*event)->flags = flags;
    all.events_.insert(*event);
    return cudaSuccess;
  });
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }
cudaError_t cudaEventCreate(cudaEvent_t* event, unsigned flags) { return cudaEventCreateWithFlags(event, flags); }

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return call_quietly([&](Queues& all) {
    if (all.events_.erase(event) == 0) return cudaErrorInvalidResourceHandle;
    delete event;
    return cudaSuccess;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return call([&](Queues& all) { return all.record(event, stream); });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return call([&](Queues& all) {
    if (!all.alive(event)) return cudaErrorInvalidResourceHandle;
    if (event->capture != nullptr) return all.invalidate(event->capture, cudaErrorCapturedEvent);
    if (const cudaError_t refused = all.refuse_in_capture(); refused != cudaSuccess) return refused;
    all.finish(event->stream, event->number);
    return cudaSuccess;
  });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  return call([&](Queues& all) {
    if (!all.alive(event)) return cudaErrorInvalidResourceHandle;
    if (event->capture != nullptr) return all.invalidate(event->capture, cudaErrorCapturedEvent);
    if (const cudaError_t refused = all.refuse_in_capture(); refused != cudaSuccess) return refused;
    if (!all.busy(event->stream, event->number)) return cudaSuccess;
    all.finish(event->stream, event->number);
    return cudaErrorNotReady;  // as of when it was asked; the next answer will be another
  });
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  return call([&](Queues& all) {
    for (const cudaEvent_t event : {start, end}) {
      if (!all.alive(event) || (event->flags & cudaEventDisableTiming) != 0 || event->reached == nullptr ||
          event->capture != nullptr) {
        return cudaErrorInvalidResourceHandle;
      }
      if (all.busy(event->stream, event->number)) return cudaErrorNotReady;
    }
    *milliseconds = std::chrono::duration<float, std::milli>(*end->reached - *start->reached).count();
    return cudaSuccess;
  });
}

// ---- graphs

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  return call([&](Queues& all) { return all.begin_capture(stream, mode); });
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  return call([&](Queues& all) { return all.end_capture(stream, graph); });
}
cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  return call([&](Queues& all) {
    const cudaStream_t stream = all.find(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    *status = stream->capture == nullptr ? cudaStreamCaptureStatusNone
              : stream->capture->invalid ? cudaStreamCaptureStatusInvalidated
                                         : cudaStreamCaptureStatusActive;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, std::size_t* count) {
  return call([&](Queues& all) {
    if (all.graphs_.count(graph) == 0) return cudaErrorInvalidValue;
    if (nodes == nullptr) {
      *count = graph->nodes.size();
      return cudaSuccess;
    }
    for (std::size_t i = 0; i < *count; ++i) {
      // A node is known by its place; nothing here takes one apart.
      nodes[i] = i < graph->nodes.size() ? reinterpret_cast<cudaGraphNode_t>(i + 1) : nullptr;
    }
    *count = std::min(*count, graph->nodes.size());
    return cudaSuccess;
  });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  return call([&](Queues& all) {
    if (all.graphs_.count(graph) == 0) return cudaErrorInvalidValue;
    *executable = new CUgraphExec_st{std::make_shared<const std::vector<Work>>(graph->nodes)};
    all.executables_.insert(*executable);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphUpload(cudaGraphExec_t executable, cudaStream_t) {
  return call(
      [&](Queues& all) { return all.executables_.count(executable) != 0 ? cudaSuccess : cudaErrorInvalidValue; });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  return call([&](Queues& all) {
    if (all.executables_.count(executable) == 0) return cudaErrorInvalidValue;
    ++nll::cuda_on_host::running_count().graph_launches;
    return all.add(stream, [nodes = executable->nodes] {
      for (const Work& node : *nodes) node();
    });
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return call_quietly([&](Queues& all) {
    if (all.graphs_.erase(graph) == 0) return cudaErrorInvalidValue;
    delete graph;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  return call_quietly([&](Queues& all) {
    if (all.executables_.erase(executable) == 0) return cudaErrorInvalidValue;
    delete executable;
    return cudaSuccess;
  });
}
