// Capture of a stream into a graph, and its replay.
#include <gtest/gtest.h>

#include <utility>

#include "tests/cuda_on_host/device_array.h"
#include "tests/cuda_on_host/pretended_gpu.h"

namespace nll::cuda_on_host {
namespace {

using cuda::launch;

__global__ void add_to(int* to, int value) { to[threadIdx.x] += value; }
__global__ void double_it(int* to) { to[threadIdx.x] *= 2; }

class Graphs : public testing::Test {
 protected:
  Graphs() {
    EXPECT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess);
    EXPECT_EQ(cudaStreamCreateWithFlags(&side_, cudaStreamNonBlocking), cudaSuccess);
    EXPECT_EQ(cudaEventCreateWithFlags(&fork_, cudaEventDisableTiming), cudaSuccess);
    EXPECT_EQ(cudaEventCreateWithFlags(&join_, cudaEventDisableTiming), cudaSuccess);
  }
  ~Graphs() override {
    EXPECT_EQ(graph_ == nullptr ? cudaSuccess : cudaGraphDestroy(graph_), cudaSuccess);
    EXPECT_EQ(executable_ == nullptr ? cudaSuccess : cudaGraphExecDestroy(executable_), cudaSuccess);
    EXPECT_EQ(cudaEventDestroy(fork_), cudaSuccess);
    EXPECT_EQ(cudaEventDestroy(join_), cudaSuccess);
    EXPECT_EQ(cudaStreamDestroy(stream_), cudaSuccess);
    EXPECT_EQ(cudaStreamDestroy(side_), cudaSuccess);
    (void)cudaGetLastError();
  }
  void begin(cudaStreamCaptureMode mode = cudaStreamCaptureModeThreadLocal) {
    ASSERT_EQ(cudaStreamBeginCapture(stream_, mode), cudaSuccess);
  }
  cudaError_t end() { return cudaStreamEndCapture(stream_, &graph_); }
  void instantiate() { ASSERT_EQ(cudaGraphInstantiate(&executable_, graph_), cudaSuccess); }
  std::vector<int> values() {
    EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
    return array_.values();
  }
  // That the call is refused in a capture, and that the capture is lost with it.
  template <class Call>
  void expect_refused(cudaError_t error, Call forbidden) {
    begin();
    EXPECT_EQ(forbidden(), error);
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    EXPECT_EQ(cudaStreamIsCapturing(stream_, &status), cudaSuccess);
    EXPECT_EQ(status, cudaStreamCaptureStatusInvalidated);
    EXPECT_EQ(end(), cudaErrorStreamCaptureInvalidated);
    EXPECT_EQ(graph_, nullptr);
    EXPECT_EQ(cudaStreamIsCapturing(stream_, &status), cudaSuccess);
    EXPECT_EQ(status, cudaStreamCaptureStatusNone);
  }

  cudaStream_t stream_ = nullptr, side_ = nullptr;
  cudaEvent_t fork_ = nullptr, join_ = nullptr;
  cudaGraph_t graph_ = nullptr;
  cudaGraphExec_t executable_ = nullptr;
  DeviceArray<int> array_{std::vector<int>{1, 2, 3, 4}};
};

TEST_F(Graphs, CapturedWorkRunsAtEachLaunchAndNotBefore) {
  begin();
  launch(add_to, 1, 4, 0, stream_, array_.data(), 1);
  launch(double_it, 1, 4, 0, stream_, array_.data());
  ASSERT_EQ(cudaMemsetAsync(array_.data() + 3, 0, 4, stream_), cudaSuccess);
  ASSERT_EQ(end(), cudaSuccess);
  std::size_t nodes = 0;
  ASSERT_EQ(cudaGraphGetNodes(graph_, nullptr, &nodes), cudaSuccess);
  EXPECT_EQ(nodes, 3u);
  instantiate();
  EXPECT_EQ(values(), (std::vector<int>{1, 2, 3, 4}));
  ASSERT_EQ(cudaGraphLaunch(executable_, stream_), cudaSuccess);
  EXPECT_EQ(values(), (std::vector<int>{4, 6, 8, 0}));
  ASSERT_EQ(cudaGraphLaunch(executable_, stream_), cudaSuccess);
  ASSERT_EQ(cudaGraphLaunch(executable_, stream_), cudaSuccess);
  EXPECT_EQ(values(), (std::vector<int>{22, 30, 38, 0}));
}

TEST_F(Graphs, ExecutableOutlivesItsGraph) {
  begin();
  launch(add_to, 1, 4, 0, stream_, array_.data(), 1);
  ASSERT_EQ(end(), cudaSuccess);
  instantiate();
  ASSERT_EQ(cudaGraphDestroy(std::exchange(graph_, nullptr)), cudaSuccess);
  ASSERT_EQ(cudaGraphLaunch(executable_, stream_), cudaSuccess);
  EXPECT_EQ(values()[0], 2);
}

TEST_F(Graphs, PinnedMemoryIsReadWhenTheGraphRuns) {
  int* pinned = nullptr;
  ASSERT_EQ(cudaMallocHost(&pinned, 16), cudaSuccess);
  begin();
  ASSERT_EQ(cudaMemcpyAsync(array_.data(), pinned, 16, cudaMemcpyHostToDevice, stream_), cudaSuccess);
  ASSERT_EQ(end(), cudaSuccess);
  instantiate();
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 4; ++i) pinned[i] = 10 * round + i;
    ASSERT_EQ(cudaGraphLaunch(executable_, stream_), cudaSuccess);
    EXPECT_EQ(values()[3], 10 * round + 3);
  }
  ASSERT_EQ(cudaFreeHost(pinned), cudaSuccess);
}

TEST_F(Graphs, OtherStreamsJoinByEvents) {
  begin();
  launch(add_to, 1, 4, 0, stream_, array_.data(), 1);
  ASSERT_EQ(cudaEventRecord(fork_, stream_), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(side_, fork_), cudaSuccess);
  launch(double_it, 1, 4, 0, side_, array_.data());
  ASSERT_EQ(cudaEventRecord(join_, side_), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(stream_, join_), cudaSuccess);
  launch(add_to, 1, 4, 0, stream_, array_.data(), 100);
  ASSERT_EQ(end(), cudaSuccess);
  instantiate();
  ASSERT_EQ(cudaGraphLaunch(executable_, stream_), cudaSuccess);
  EXPECT_EQ(values()[0], 104);
}

TEST_F(Graphs, StreamThatDoesNotComeBackIsUnjoined) {
  begin();
  ASSERT_EQ(cudaEventRecord(fork_, stream_), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(side_, fork_), cudaSuccess);
  launch(double_it, 1, 4, 0, side_, array_.data());
  EXPECT_EQ(end(), cudaErrorStreamCaptureUnjoined);
}

TEST_F(Graphs, NothingWaitsOrAllocatesInACapture) {
  void* block = nullptr;
  std::vector<int> host(4);
  const cudaError_t unsupported = cudaErrorStreamCaptureUnsupported;
  expect_refused(unsupported, [&] { return cudaMalloc(&block, 16); });
  expect_refused(unsupported, [&] { return cudaMallocHost(&block, 16); });
  expect_refused(unsupported, [&] { return cudaFree(array_.data()); });
  expect_refused(unsupported, [&] { return cudaStreamSynchronize(stream_); });
  expect_refused(unsupported, [&] { return cudaStreamSynchronize(side_); });
  expect_refused(unsupported, [&] { return cudaStreamQuery(stream_); });
  expect_refused(unsupported, [&] { return cudaDeviceSynchronize(); });
  expect_refused(unsupported, [&] { return cudaMemcpy(host.data(), array_.data(), 16, cudaMemcpyDeviceToHost); });
  expect_refused(unsupported,
                 [&] { return cudaMemcpyAsync(array_.data(), host.data(), 16, cudaMemcpyHostToDevice, stream_); });
  ASSERT_EQ(cudaEventRecord(join_, side_), cudaSuccess);
  expect_refused(unsupported, [&] { return cudaEventQuery(join_); });
  expect_refused(cudaErrorStreamCaptureIsolation, [&] { return cudaStreamWaitEvent(stream_, join_); });
  expect_refused(cudaErrorCapturedEvent, [&] {
    EXPECT_EQ(cudaEventRecord(fork_, stream_), cudaSuccess);
    return cudaEventSynchronize(fork_);
  });
}

TEST_F(Graphs, DefaultStreamTakesNoWorkWhileABlockingStreamIsCaptured) {
  cudaStream_t blocking = nullptr;
  ASSERT_EQ(cudaStreamCreate(&blocking), cudaSuccess);
  ASSERT_EQ(cudaStreamBeginCapture(blocking, cudaStreamCaptureModeRelaxed), cudaSuccess);
  EXPECT_EQ(cudaMemsetAsync(array_.data(), 0, 16, nullptr), cudaErrorStreamCaptureImplicit);
  EXPECT_EQ(cudaStreamEndCapture(blocking, &graph_), cudaErrorStreamCaptureInvalidated);
  ASSERT_EQ(cudaStreamDestroy(blocking), cudaSuccess);
}

TEST_F(Graphs, OtherStreamsWorkGoesOnDuringACapture) {
  begin();
  launch(add_to, 1, 4, 0, stream_, array_.data(), 1);
  launch(double_it, 1, 4, 0, side_, array_.data());
  ASSERT_EQ(end(), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(side_), cudaSuccess);
  EXPECT_EQ(values()[0], 2);
}

TEST_F(Graphs, CapturesEndWhereTheyBegan) {
  EXPECT_EQ(end(), cudaErrorIllegalState);
  EXPECT_EQ(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeRelaxed), cudaErrorStreamCaptureUnsupported);
  begin();
  EXPECT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed), cudaErrorIllegalState);
  ASSERT_EQ(end(), cudaSuccess);
  EXPECT_EQ(cudaGraphLaunch(nullptr, stream_), cudaErrorInvalidValue);
}

}  // namespace
}  // namespace nll::cuda_on_host
