#include "tests/cuda_on_host/memory.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/cuda_on_host/device_array.h"
#include "tests/cuda_on_host/pretended_gpu.h"

namespace nll::cuda_on_host {
namespace {

TEST(Memory, FreshDeviceMemoryIsNaN) {
  const DeviceArray<float> array(100);
  for (const float value : array.values()) ASSERT_TRUE(std::isnan(value));
}

TEST(Memory, CopiesAndFillsBeyondAnAllocationAreRefused) {
  const DeviceArray<float> array(100);
  std::vector<float> host(101);
  EXPECT_EQ(cudaMemcpy(array.data(), host.data(), 404, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(host.data(), array.data() + 1, 400, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(array.data(), 0, 401), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(host.data(), 0, 4), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST(Memory, DirectionMustBeThatOfThePointers) {
  const DeviceArray<float> array(100);
  std::vector<float> host(100);
  for (const cudaMemcpyKind kind : {cudaMemcpyHostToHost, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice}) {
    EXPECT_EQ(cudaMemcpy(array.data(), host.data(), 400, kind), cudaErrorInvalidValue);
  }
  EXPECT_EQ(cudaMemcpy(array.data(), host.data(), 400, cudaMemcpyDefault), cudaSuccess);
  (void)cudaGetLastError();
}

TEST(Memory, RowsWithAPitchAreCopiedRowByRow) {
  const DeviceArray<int> array(std::vector<int>(12, -1));
  const std::vector<int> rows = {1, 2, 3, 4, 5, 6};
  ASSERT_EQ(cudaMemcpy2DAsync(array.data(), 16, rows.data(), 8, 8, 3, cudaMemcpyHostToDevice), cudaSuccess);
  EXPECT_EQ(array.values(), (std::vector<int>{1, 2, -1, -1, 3, 4, -1, -1, 5, 6, -1, -1}));
  EXPECT_EQ(cudaMemcpy2DAsync(array.data(), 4, rows.data(), 8, 8, 3, cudaMemcpyHostToDevice),
            cudaErrorInvalidPitchValue);
  (void)cudaGetLastError();
}

TEST(Memory, CensusCountsWhatIsHeld) {
  const Census before = census();
  {
    const DeviceArray<float> array(100);
    void* pinned = nullptr;
    ASSERT_EQ(cudaHostAlloc(&pinned, 64, cudaHostAllocDefault), cudaSuccess);
    const Census now = census();
    EXPECT_EQ(now.device_bytes, before.device_bytes + 400);
    EXPECT_EQ(now.device_blocks, before.device_blocks + 1);
    EXPECT_EQ(now.host_bytes, before.host_bytes + 64);
    EXPECT_EQ(now.mallocs, before.mallocs + 1);
    ASSERT_EQ(cudaFreeHost(pinned), cudaSuccess);
    EXPECT_EQ(cudaFreeHost(pinned), cudaErrorInvalidValue);
  }
  EXPECT_EQ(census().device_bytes, before.device_bytes);
  EXPECT_EQ(census().host_blocks, before.host_blocks);
  (void)cudaGetLastError();
}

TEST(Memory, MoreThanThereIsAndInjectedFailuresAreOutOfMemory) {
  const PretendedGpuScope scope;
  const std::size_t held = census().device_bytes;
  pretended_gpu().memory_bytes = held + 1000;
  void* block = nullptr;
  EXPECT_EQ(cudaMalloc(&block, 1001), cudaErrorMemoryAllocation);
  std::size_t free_bytes = 0, total_bytes = 0;
  ASSERT_EQ(cudaMemGetInfo(&free_bytes, &total_bytes), cudaSuccess);
  EXPECT_EQ(free_bytes, 1000u);
  EXPECT_EQ(total_bytes, held + 1000);
  pretended_gpu().failing_mallocs = 1;
  EXPECT_EQ(cudaMalloc(&block, 10), cudaErrorMemoryAllocation);
  EXPECT_EQ(block, nullptr);
  EXPECT_EQ(cudaMalloc(&block, 10), cudaSuccess);
  EXPECT_EQ(cudaFree(block), cudaSuccess);
  pretended_gpu().failing_host_mallocs = 1;
  EXPECT_EQ(cudaMallocHost(&block, 10), cudaErrorMemoryAllocation);
  (void)cudaGetLastError();
}

TEST(Device, NoDriverAnOldDriverAndNoDeviceAreToldApart) {
  const PretendedGpuScope scope;
  int count = -1, version = -1;
  pretended_gpu().driver_version = 0;
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaErrorInsufficientDriver);
  EXPECT_EQ(count, 0);
  EXPECT_EQ(cudaDriverGetVersion(&version), cudaSuccess);
  EXPECT_EQ(version, 0);
  pretended_gpu().driver_version = 12040;
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaErrorInsufficientDriver);
  pretended_gpu().driver_version = 13000;
  pretended_gpu().devices = 0;
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaErrorNoDevice);
  void* block = nullptr;
  EXPECT_EQ(cudaMalloc(&block, 10), cudaErrorNoDevice);
  EXPECT_STREQ(cudaGetErrorName(cudaErrorNoDevice), "cudaErrorNoDevice");
  (void)cudaGetLastError();
}

TEST(Device, PropertiesAreWhatTheTestSays) {
  const PretendedGpuScope scope;
  pretended_gpu().name = "pretended";
  pretended_gpu().capability_major = 9;
  pretended_gpu().multiprocessors = 132;
  cudaDeviceProp properties;
  ASSERT_EQ(cudaGetDeviceProperties(&properties, 0), cudaSuccess);
  EXPECT_STREQ(properties.name, "pretended");
  EXPECT_EQ(properties.major, 9);
  int value = 0;
  ASSERT_EQ(cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, 0), cudaSuccess);
  EXPECT_EQ(value, 132);
  EXPECT_EQ(cudaGetDeviceProperties(&properties, 1), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaSetDevice(1), cudaErrorInvalidDevice);
  (void)cudaGetLastError();
}

__global__ void nothing() {}
TEST(Device, BuildWithoutItsArchitectureHasNoKernelImage) {
  const PretendedGpuScope scope;
  pretended_gpu().has_kernel_image = false;
  cudaFuncAttributes attributes;
  EXPECT_EQ(cudaFuncGetAttributes(&attributes, nothing), cudaErrorNoKernelImageForDevice);
  EXPECT_THROW(cuda::launch(nothing, 1, 1, 0, nullptr), Error);
  (void)cudaGetLastError();
}

}  // namespace
}  // namespace nll::cuda_on_host
