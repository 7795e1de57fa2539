// The queues of work behind CUDA's streams, events and graphs, and the lock under which every call of the API runs.
#pragma once
#include <chrono>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "tests/cuda_on_host/runtime_api.h"

using Work = std::function<void()>;

struct CUgraph_st {
  std::vector<Work> nodes;  // in the order of their capture, which keeps every dependency
};
struct CUgraphExec_st {
  std::shared_ptr<const std::vector<Work>> nodes;
};

namespace nll::cuda_on_host {

// A recording in progress: what the streams in it are given goes into the graph.
struct Capture {
  std::unique_ptr<CUgraph_st> graph = std::make_unique<CUgraph_st>();
  cudaStream_t origin = nullptr;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::thread::id thread = std::this_thread::get_id();
  bool invalid = false;
};

struct Queued {
  std::uint64_t number;
  Work work;
};

}  // namespace nll::cuda_on_host

struct CUstream_st {
  unsigned flags = 0;
  std::deque<nll::cuda_on_host::Queued> queue;
  std::shared_ptr<nll::cuda_on_host::Capture> capture;
  bool joined = true;  // in a capture: its origin waits for all that was captured here
};

struct CUevent_st {
  unsigned flags = 0;
  cudaStream_t stream = nullptr;  // of the last record
  std::uint64_t number = 0;       // of the last record; 0: none
  // When the record was reached. Shared with the record, which may outlive the event.
  std::shared_ptr<std::chrono::steady_clock::time_point> reached;
  std::shared_ptr<nll::cuda_on_host::Capture> capture;  // the last record was captured
};

namespace nll::cuda_on_host {

class Queues {
 public:
  // The stream of a handle (null: the default stream), or null where there is none.
  cudaStream_t find(cudaStream_t handle);
  bool alive(cudaEvent_t event) const { return events_.count(event) != 0; }
  bool alive(cudaStream_t stream) const { return stream == &default_ || streams_.count(stream) != 0; }

  // Appends to the stream's queue, or to its capture.
  cudaError_t add(cudaStream_t handle, Work work);
  // Does what the stream holds up to that number, and whatever it waits for.
  void finish(cudaStream_t stream, std::uint64_t number = ~std::uint64_t{0});
  void finish_all();
  // Nothing is waited for, but what was started before a destruction happens: a failure is kept for the next call.
  void finish_quietly(const std::function<void()>& action);
  bool busy(cudaStream_t stream, std::uint64_t number) const;

  cudaError_t begin_capture(cudaStream_t stream, cudaStreamCaptureMode mode);
  cudaError_t end_capture(cudaStream_t stream, cudaGraph_t* graph);
  // For calls that may wait or allocate: what they answer while something is captured, which is then lost.
  cudaError_t refuse_in_capture();
  cudaError_t invalidate(const std::shared_ptr<Capture>& capture, cudaError_t error);

  cudaError_t record(cudaEvent_t event, cudaStream_t stream);
  cudaError_t wait(cudaStream_t stream, cudaEvent_t event);

  std::set<cudaStream_t> streams_;
  std::set<cudaEvent_t> events_;
  std::set<cudaGraph_t> graphs_;
  std::set<cudaGraphExec_t> executables_;
  std::exception_ptr failure_;  // of work that was done while something was destroyed
  cudaError_t last_error_ = cudaSuccess;
  std::recursive_mutex mutex_;

 private:
  void drop_all();

  CUstream_st default_;
  std::uint64_t next_number_ = 1;
  std::vector<std::shared_ptr<Capture>> captures_;
};
Queues& queues();

cudaError_t device_usable();  // no driver, no device: why not

// A call of the API: under the lock; an error that is not mere waiting becomes the last error.
template <class Body>
cudaError_t call(Body body) {
  Queues& all = queues();
  const std::lock_guard lock(all.mutex_);
  if (all.failure_ != nullptr) std::rethrow_exception(std::exchange(all.failure_, nullptr));
  cudaError_t error = device_usable();
  if (error == cudaSuccess) error = body(all);
  if (error != cudaSuccess && error != cudaErrorNotReady) all.last_error_ = error;
  return error;
}
// The same for what destroys: it must not throw.
template <class Body>
cudaError_t call_quietly(Body body) {
  Queues& all = queues();
  const std::lock_guard lock(all.mutex_);
  const cudaError_t error = body(all);
  if (error != cudaSuccess) all.last_error_ = error;
  return error;
}

}  // namespace nll::cuda_on_host
