#include "tests/cuda_on_host/queue.h"

#include <algorithm>
#include <iostream>

#include "tests/cuda_on_host/pretended_gpu.h"

namespace nll::cuda_on_host {

Queues& queues() {
  static Queues only;
  return only;
}

cudaStream_t Queues::find(cudaStream_t handle) {
  if (handle == nullptr || handle == cudaStreamLegacy || handle == &default_) return &default_;
  return streams_.count(handle) != 0 ? handle : nullptr;
}

cudaError_t Queues::add(cudaStream_t handle, Work work) {
  const cudaStream_t stream = find(handle);
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (stream->capture != nullptr) {
    if (stream->capture->invalid) return cudaErrorStreamCaptureInvalidated;
    stream->capture->graph->nodes.push_back(std::move(work));
    stream->joined = stream == stream->capture->origin;
    return cudaSuccess;
  }
  if (stream == &default_) {
    // The default stream waits for the blocking streams, which none that is captured can be waited for.
    for (const cudaStream_t other : streams_) {
      if (other->capture != nullptr && (other->flags & cudaStreamNonBlocking) == 0) {
        return invalidate(other->capture, cudaErrorStreamCaptureImplicit);
      }
    }
  }
  stream->queue.push_back({next_number_++, std::move(work)});
  if (!pretended_gpu().lazy) finish(stream);
  return cudaSuccess;
}

void Queues::finish(cudaStream_t stream, std::uint64_t number) {
  while (alive(stream) && busy(stream, number)) {
    const std::uint64_t next = stream->queue.front().number;
    // The default stream and the blocking ones wait for each other. What they wait for is older, so this ends.
    if (stream == &default_) {
      for (const cudaStream_t other : streams_) {
        if ((other->flags & cudaStreamNonBlocking) == 0) finish(other, next - 1);
      }
    } else if ((stream->flags & cudaStreamNonBlocking) == 0) {
      finish(&default_, next - 1);
    }
    if (!busy(stream, next)) continue;  // one of those waited for this
    const Work work = std::move(stream->queue.front().work);
    try {
      work();
    } catch (...) {
      drop_all();
      throw;
    }
    stream->queue.pop_front();
  }
}

void Queues::finish_all() {
  finish(&default_);
  const std::set<cudaStream_t> all = streams_;
  for (const cudaStream_t stream : all) finish(stream);
}

void Queues::finish_quietly(const std::function<void()>& action) {
  try {
    action();
  } catch (const std::exception& error) {
    std::cerr << "cuda on host: kept for the next call: " << error.what() << '\n';
    if (failure_ == nullptr) failure_ = std::current_exception();
  }
}

bool Queues::busy(cudaStream_t stream, std::uint64_t number) const {
  return alive(stream) && !stream->queue.empty() && stream->queue.front().number <= number;
}

// After a fault a GPU does nothing that was queued.
void Queues::drop_all() {
  default_.queue.clear();
  for (const cudaStream_t stream : streams_) stream->queue.clear();
}

cudaError_t Queues::begin_capture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  const cudaStream_t stream = find(handle);
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (stream == &default_) return cudaErrorStreamCaptureUnsupported;
  if (stream->capture != nullptr) return cudaErrorIllegalState;
  stream->capture = std::make_shared<Capture>();
  stream->capture->origin = stream;
  stream->capture->mode = mode;
  stream->joined = true;
  captures_.push_back(stream->capture);
  return cudaSuccess;
}

cudaError_t Queues::end_capture(cudaStream_t handle, cudaGraph_t* graph) {
  *graph = nullptr;
  const cudaStream_t stream = find(handle);
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  const std::shared_ptr<Capture> capture = stream->capture;
  if (capture == nullptr) return cudaErrorIllegalState;
  if (capture->origin != stream) return cudaErrorStreamCaptureUnmatched;
  if (capture->mode != cudaStreamCaptureModeRelaxed && capture->thread != std::this_thread::get_id()) {
    return invalidate(capture, cudaErrorStreamCaptureWrongThread);
  }
  bool joined = true;
  for (const cudaStream_t other : streams_) {
    if (other->capture != capture) continue;
    joined = joined && other->joined;
    other->capture.reset();
    other->joined = true;
  }
  captures_.erase(std::remove(captures_.begin(), captures_.end(), capture), captures_.end());
  if (capture->invalid) return cudaErrorStreamCaptureInvalidated;
  if (!joined) return cudaErrorStreamCaptureUnjoined;
  *graph = capture->graph.release();
  graphs_.insert(*graph);
  return cudaSuccess;
}

cudaError_t Queues::refuse_in_capture() {
  for (const std::shared_ptr<Capture>& capture : captures_) {
    const bool own = capture->thread == std::this_thread::get_id();
    if (capture->mode == cudaStreamCaptureModeGlobal || (capture->mode == cudaStreamCaptureModeThreadLocal && own)) {
      return invalidate(capture, cudaErrorStreamCaptureUnsupported);
    }
  }
  return cudaSuccess;
}

cudaError_t Queues::invalidate(const std::shared_ptr<Capture>& capture, cudaError_t error) {
  if (capture->invalid) return cudaErrorStreamCaptureInvalidated;
  capture->invalid = true;
  return error;
}

cudaError_t Queues::record(cudaEvent_t event, cudaStream_t handle) {
  const cudaStream_t stream = find(handle);
  if (stream == nullptr || !alive(event)) return cudaErrorInvalidResourceHandle;
  event->stream = stream;
  event->capture = stream->capture;
  if (stream->capture != nullptr) {
    event->number = stream->capture->graph->nodes.size();
    return stream->capture->invalid ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
  }
  event->reached = std::make_shared<std::chrono::steady_clock::time_point>();
  event->number = next_number_;
  return add(stream, [reached = event->reached] { *reached = std::chrono::steady_clock::now(); });
}

cudaError_t Queues::wait(cudaStream_t handle, cudaEvent_t event) {
  const cudaStream_t stream = find(handle);
  if (stream == nullptr || !alive(event)) return cudaErrorInvalidResourceHandle;
  if (event->capture != nullptr) {
    if (event->capture->invalid) return cudaErrorStreamCaptureInvalidated;
    if (stream->capture == nullptr) {
      if (event->stream->capture != event->capture) return cudaErrorCapturedEvent;  // that capture is over
      stream->capture = event->capture;                                             // a fork
      stream->joined = false;
    } else if (stream->capture != event->capture) {
      (void)invalidate(stream->capture, cudaErrorStreamCaptureMerge);
      return invalidate(event->capture, cudaErrorStreamCaptureMerge);
    } else if (event->stream != stream) {
      event->stream->joined = true;
      stream->joined = stream == stream->capture->origin;
    }
    return cudaSuccess;
  }
  if (stream->capture != nullptr) return invalidate(stream->capture, cudaErrorStreamCaptureIsolation);
  if (event->number == 0) return cudaSuccess;
  return add(stream, [this, other = event->stream, number = event->number] { finish(other, number); });
}

}  // namespace nll::cuda_on_host
