// Stream: the one queue of work of a GPU backend. Event: a point in it. RAII; the stream is shared by device and ops.
#pragma once
#include <cuda_runtime.h>

#include <memory>

namespace nll::cuda {

class Stream : public std::enable_shared_from_this<Stream> {
 public:
  // On one of the GPUs that this process sees. Throws what kernels/cuda/error.h makes of it where there is none.
  explicit Stream(int gpu = 0);
  ~Stream();  // waits for what is queued
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  cudaStream_t get() const { return stream_; }
  bool capturing() const;  // a recording is being made: nothing may be allocated, timed or waited for
  void synchronize() const;
  int gpu() const { return gpu_; }
  int multiprocessors() const { return multiprocessors_; }
  int capability() const { return capability_; }  // 90 for 9.0

 private:
  cudaStream_t stream_ = nullptr;
  int gpu_ = 0;
  int multiprocessors_ = 0, capability_ = 0;
};

class Event {
 public:
  enum class Timing { no, yes };
  explicit Event(Timing timing = Timing::no);
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record(const Stream& stream);
  void synchronize() const;
  // Between two recorded events that were made with Timing::yes and are over.
  float milliseconds_since(const Event& start) const;

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace nll::cuda
