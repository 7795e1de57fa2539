// Streams, events and memory: what is queued happens when somebody waits, and not before.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "tests/cuda_on_host/device_array.h"
#include "tests/cuda_on_host/pretended_gpu.h"

namespace nll::cuda_on_host {
namespace {

using cuda::launch;

__global__ void fill(int* to, int value, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) to[i] = value;
}
__global__ void add_to(int* to, int value) { to[threadIdx.x] += value; }
__global__ void fails() {
  if (threadIdx.x == 0) return;
  __syncthreads();
}

class Streams : public testing::Test {
 protected:
  Streams() {
    EXPECT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess);
    EXPECT_EQ(cudaStreamCreate(&blocking_), cudaSuccess);
    EXPECT_EQ(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), cudaSuccess);
    EXPECT_EQ(cudaMallocHost(&pinned_, 4 * sizeof(int)), cudaSuccess);
    set_pinned(-7);
  }
  ~Streams() override {
    EXPECT_EQ(cudaFreeHost(pinned_), cudaSuccess);
    EXPECT_EQ(cudaEventDestroy(event_), cudaSuccess);
    EXPECT_EQ(cudaStreamDestroy(stream_), cudaSuccess);
    EXPECT_EQ(cudaStreamDestroy(blocking_), cudaSuccess);
    (void)cudaGetLastError();
  }
  void set_pinned(int value) {
    for (int i = 0; i < 4; ++i) pinned_[i] = value;
  }
  void copy_out_later(const DeviceArray<int>& from) {
    ASSERT_EQ(cudaMemcpyAsync(pinned_, from.data(), 16, cudaMemcpyDeviceToHost, stream_), cudaSuccess);
  }

  const PretendedGpuScope scope_;
  cudaStream_t stream_ = nullptr, blocking_ = nullptr;
  cudaEvent_t event_ = nullptr;
  int* pinned_ = nullptr;
};

TEST_F(Streams, PinnedMemoryIsFilledOnlyWhenSomebodyWaits) {
  const DeviceArray<int> array(4);
  launch(fill, 1, 4, 0, stream_, array.data(), 5, 4);
  copy_out_later(array);
  EXPECT_EQ(pinned_[3], -7);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(pinned_[3], 5);
}

TEST_F(Streams, WithoutLazinessWorkIsDoneAtOnce) {
  pretended_gpu().lazy = false;
  const DeviceArray<int> array(4);
  launch(fill, 1, 4, 0, stream_, array.data(), 5, 4);
  copy_out_later(array);
  EXPECT_EQ(pinned_[3], 5);
}

TEST_F(Streams, UploadFromPinnedMemoryReadsItLate) {
  const DeviceArray<int> array(4);
  set_pinned(1);
  ASSERT_EQ(cudaMemcpyAsync(array.data(), pinned_, 16, cudaMemcpyHostToDevice, stream_), cudaSuccess);
  set_pinned(2);  // too early: its event was not waited for
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(array.values()[0], 2);
}

TEST_F(Streams, UploadFromPageableMemoryReadsItAtOnce) {
  const DeviceArray<int> array(4);
  std::vector<int> source(4, 1);
  ASSERT_EQ(cudaMemcpyAsync(array.data(), source.data(), 16, cudaMemcpyHostToDevice, stream_), cudaSuccess);
  source.assign(4, 2);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(array.values()[0], 1);
}

TEST_F(Streams, DownloadToPageableMemoryIsThereOnReturn) {
  const DeviceArray<int> array(4);
  std::vector<int> target(4);
  launch(fill, 1, 4, 0, stream_, array.data(), 6, 4);
  ASSERT_EQ(cudaMemcpyAsync(target.data(), array.data(), 16, cudaMemcpyDeviceToHost, stream_), cudaSuccess);
  EXPECT_EQ(target[2], 6);
}

TEST_F(Streams, EventIsReachedWithWhatWasBeforeItOnly) {
  const DeviceArray<int> array(4);
  launch(fill, 1, 4, 0, stream_, array.data(), 1, 4);
  copy_out_later(array);
  ASSERT_EQ(cudaEventRecord(event_, stream_), cudaSuccess);
  launch(fill, 1, 4, 0, stream_, array.data(), 2, 4);
  copy_out_later(array);
  EXPECT_EQ(cudaEventQuery(event_), cudaErrorNotReady);
  EXPECT_EQ(cudaEventQuery(event_), cudaSuccess);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);  // not ready is no error
  EXPECT_EQ(pinned_[0], 1);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(pinned_[0], 2);
}

TEST_F(Streams, StreamsMeetAtEventsOnly) {
  const DeviceArray<int> array(4);
  cudaStream_t other = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking), cudaSuccess);
  launch(fill, 1, 4, 0, other, array.data(), 9, 4);
  ASSERT_EQ(cudaEventRecord(event_, other), cudaSuccess);
  copy_out_later(array);  // does not wait for `other`
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(pinned_[0], -1);  // the poison of fresh memory
  ASSERT_EQ(cudaStreamWaitEvent(stream_, event_), cudaSuccess);
  copy_out_later(array);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(pinned_[0], 9);
  ASSERT_EQ(cudaStreamDestroy(other), cudaSuccess);
}

TEST_F(Streams, DefaultStreamWaitsForBlockingStreamsOnly) {
  const DeviceArray<int> blocking(4), other(4);
  launch(fill, 1, 4, 0, blocking_, blocking.data(), 3, 4);
  launch(fill, 1, 4, 0, stream_, other.data(), 3, 4);
  EXPECT_EQ(blocking.values()[0], 3);
  EXPECT_EQ(other.values()[0], -1);
  // And the other way: the blocking stream waits for the default stream.
  launch(add_to, 1, 4, 0, nullptr, blocking.data(), 4);
  launch(add_to, 1, 4, 0, blocking_, blocking.data(), 10);
  ASSERT_EQ(cudaStreamSynchronize(blocking_), cudaSuccess);
  EXPECT_EQ(blocking.values()[0], 17);
}

TEST_F(Streams, QueryAnswersNotReadyUntilTheWorkIsDone) {
  const DeviceArray<int> array(4);
  EXPECT_EQ(cudaStreamQuery(stream_), cudaSuccess);
  launch(fill, 1, 4, 0, stream_, array.data(), 5, 4);
  EXPECT_EQ(cudaStreamQuery(stream_), cudaErrorNotReady);
  EXPECT_EQ(cudaStreamQuery(stream_), cudaSuccess);
}

TEST_F(Streams, ElapsedTimeNeedsTwoReachedTimingEvents) {
  cudaEvent_t start = nullptr, end = nullptr;
  ASSERT_EQ(cudaEventCreate(&start), cudaSuccess);
  ASSERT_EQ(cudaEventCreate(&end), cudaSuccess);
  float milliseconds = -1;
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, start, end), cudaErrorInvalidResourceHandle);
  const DeviceArray<int> array(4);
  ASSERT_EQ(cudaEventRecord(start, stream_), cudaSuccess);
  launch(fill, 1, 4, 0, stream_, array.data(), 5, 4);
  ASSERT_EQ(cudaEventRecord(end, stream_), cudaSuccess);
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, start, end), cudaErrorNotReady);
  ASSERT_EQ(cudaEventSynchronize(end), cudaSuccess);
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, start, end), cudaSuccess);
  EXPECT_GE(milliseconds, 0.0f);
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, event_, end), cudaErrorInvalidResourceHandle);
  ASSERT_EQ(cudaEventDestroy(start), cudaSuccess);
  ASSERT_EQ(cudaEventDestroy(end), cudaSuccess);
}

TEST_F(Streams, AfterAFaultNothingThatWasQueuedIsDone) {
  const DeviceArray<int> array(std::vector<int>{1, 1, 1, 1});
  launch(fails, 1, 2, 0, stream_);
  launch(fill, 1, 4, 0, stream_, array.data(), 5, 4);
  EXPECT_THROW((void)cudaStreamSynchronize(stream_), KernelFault);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(array.values()[0], 1);
}

TEST_F(Streams, FaultMetWhileSomethingIsFreedIsToldByTheNextCall) {
  void* block = nullptr;
  ASSERT_EQ(cudaMalloc(&block, 16), cudaSuccess);
  launch(fails, 1, 2, 0, stream_);
  testing::internal::CaptureStderr();
  EXPECT_EQ(cudaFree(block), cudaSuccess);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("which has returned"), std::string::npos);
  EXPECT_THROW((void)cudaStreamQuery(stream_), KernelFault);
}

TEST_F(Streams, HostFunctionsRunInTheirTurn) {
  const DeviceArray<int> array(4);
  launch(fill, 1, 4, 0, stream_, array.data(), 5, 4);
  ASSERT_EQ(cudaLaunchHostFunc(
                stream_, [](void* at) { *static_cast<int*>(at) += 1; }, pinned_),
            cudaSuccess);
  EXPECT_EQ(pinned_[0], -7);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(pinned_[0], -6);
}

TEST_F(Streams, DestroyedStreamFinishesItsWork) {
  const DeviceArray<int> array(4);
  cudaStream_t other = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking), cudaSuccess);
  launch(fill, 1, 4, 0, other, array.data(), 8, 4);
  ASSERT_EQ(cudaStreamDestroy(other), cudaSuccess);
  EXPECT_EQ(array.values()[0], 8);
  EXPECT_EQ(cudaStreamSynchronize(other), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaStreamDestroy(other), cudaErrorInvalidResourceHandle);
}

}  // namespace
}  // namespace nll::cuda_on_host
