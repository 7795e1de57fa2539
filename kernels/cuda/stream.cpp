#include "kernels/cuda/stream.h"

#include "kernels/cuda/error.h"

namespace nll::cuda {

Stream::Stream(int gpu) : gpu_(gpu) {
  check(cudaSetDevice(gpu), "choosing the GPU");
  int major = 0, minor = 0;
  check(cudaDeviceGetAttribute(&multiprocessors_, cudaDevAttrMultiProcessorCount, gpu), "counting the multiprocessors");
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, gpu), "reading the compute capability");
  check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, gpu), "reading the compute capability");
  capability_ = 10 * major + minor;
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
}

Stream::~Stream() {
  (void)cudaStreamSynchronize(stream_);
  (void)cudaStreamDestroy(stream_);
}

bool Stream::capturing() const {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(stream_, &status), "asking whether the stream is being recorded");
  return status != cudaStreamCaptureStatusNone;
}

void Stream::synchronize() const { check(cudaStreamSynchronize(stream_), "waiting for the GPU"); }

Event::Event(Timing timing) {
  const unsigned flags = timing == Timing::yes ? cudaEventDefault : cudaEventDisableTiming;
  check(cudaEventCreateWithFlags(&event_, flags), "making an event");
}

Event::~Event() { (void)cudaEventDestroy(event_); }

void Event::record(const Stream& stream) { check(cudaEventRecord(event_, stream.get()), "marking the stream"); }

void Event::synchronize() const { check(cudaEventSynchronize(event_), "waiting for the GPU"); }

float Event::milliseconds_since(const Event& start) const {
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, start.event_, event_), "timing the GPU");
  return milliseconds;
}

}  // namespace nll::cuda
