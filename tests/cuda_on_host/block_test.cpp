#include "tests/cuda_on_host/block.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/warp.cuh"
#include "tests/cuda_on_host/device_array.h"

namespace nll::cuda_on_host {
namespace {

using cuda::launch;

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

__global__ void number_threads(int* to) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  to[block * blockDim.x * blockDim.y * blockDim.z + thread] = static_cast<int>(100 * block + thread);
}

TEST(Block, EveryThreadOfEveryBlockRunsOnce) {
  DeviceArray<int> numbers(2 * 3 * 2 * 60);
  launch(number_threads, dim3(2, 3, 2), dim3(5, 4, 3), 0, nullptr, numbers.data());
  const std::vector<int> values = numbers.values();
  for (int i = 0; i < 12 * 60; ++i) ASSERT_EQ(values[static_cast<std::size_t>(i)], 100 * (i / 60) + i % 60);
}

// Reverses through shared memory, several times over: wrong where a barrier lets anybody pass too early.
__global__ void reverse(int* values, int rounds) {
  __shared__ int part[256];
  const unsigned i = threadIdx.x;
  for (int round = 0; round < rounds; ++round) {
    part[i] = values[blockIdx.x * blockDim.x + i];
    __syncthreads();
    values[blockIdx.x * blockDim.x + i] = part[blockDim.x - 1 - i] + 1;
    __syncthreads();
  }
}

TEST(Block, BarrierHoldsEveryThreadUntilTheLastHasCome) {
  for (const unsigned threads : {1u, 31u, 32u, 33u, 256u}) {
    std::vector<int> values(3 * threads);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<int>(10 * i);
    DeviceArray<int> array(values);
    launch(reverse, 3, threads, 0, nullptr, array.data(), 5);
    const std::vector<int> after = array.values();
    for (std::size_t block = 0; block < 3; ++block) {
      for (std::size_t i = 0; i < threads; ++i) {
        ASSERT_EQ(after[block * threads + i], values[block * threads + threads - 1 - i] + 5);
      }
    }
  }
}

__global__ void count_votes(int* counts) {
  const int i = static_cast<int>(threadIdx.x);
  const int count = __syncthreads_count(i % 3 == 0);
  const int any = __syncthreads_or(i == 70), none = __syncthreads_or(i == 700);
  const int all = __syncthreads_and(i < 100), not_all = __syncthreads_and(i < 99);
  counts[i] = count + 1000 * any + 2000 * none + 4000 * all + 8000 * not_all;
}

TEST(Block, VotesOfABlockCountAllItsThreads) {
  DeviceArray<int> counts(100);
  launch(count_votes, 1, 100, 0, nullptr, counts.data());
  for (const int count : counts.values()) ASSERT_EQ(count, 34 + 1000 + 4000);
}

__global__ void return_before_barrier() {
  if (threadIdx.x == 3) return;
  __syncthreads();
}
__global__ void two_barriers() {
  if (threadIdx.x < 7) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
__global__ void barrier_or_shuffle() {
  if (threadIdx.x % 32 == 5) {
    __syncthreads();
  } else {
    __shfl_sync(0xffffffffu, 1, 0);
  }
}

TEST(Block, BarrierThatAThreadDoesNotReachIsAFault) {
  launch(return_before_barrier, 2, 64, 0, nullptr);
  const std::string text = fault_text();
  EXPECT_TRUE(contains(text, "return_before_barrier (launched at ")) << text;
  EXPECT_TRUE(contains(text, "block (0,0,0), thread (0,0,0)")) << text;
  EXPECT_TRUE(contains(text, "waits in __syncthreads for thread (3,0,0), which has returned")) << text;
  EXPECT_TRUE(contains(text, "block_test.cpp:")) << text;
}

TEST(Block, BarriersAtDifferentPlacesAreAFault) {
  launch(two_barriers, 1, 32, 0, nullptr);
  const std::string text = fault_text();
  EXPECT_TRUE(contains(text, "for thread (7,0,0), which waits in __syncthreads at ")) << text;
}

TEST(Block, ThreadsThatWaitForDifferentThingsAreAFault) {
  launch(barrier_or_shuffle, 1, 64, 0, nullptr);
  const std::string text = fault_text();
  EXPECT_TRUE(contains(text, "waits in __shfl_sync for thread (5,0,0), which waits in __syncthreads at ")) << text;
}

struct CountsDestructions {
  int* count;
  ~CountsDestructions() { ++*count; }
};
__global__ void check_fails(int* destroyed) {
  const CountsDestructions counter{destroyed};
  __syncthreads();
  if (threadIdx.x == 40) CHECK(threadIdx.x == 41u);
  __syncthreads();
}

TEST(Block, FailedCheckSurfacesAndEveryThreadsStackIsUnwound) {
  int destroyed = 0;
  launch(check_fails, 3, 64, 0, nullptr, &destroyed);
  EXPECT_THROW((void)cudaDeviceSynchronize(), std::logic_error);
  EXPECT_EQ(destroyed, 64);
  // The next launch finds everything in order.
  DeviceArray<int> counts(100);
  launch(count_votes, 1, 100, 0, nullptr, counts.data());
  EXPECT_EQ(counts.values()[99], 34 + 1000 + 4000);
}

__global__ void read_dynamic_shared(float* seen) {
  float* const shared = reinterpret_cast<float*>(cuda::dynamic_shared());
  seen[blockIdx.x * blockDim.x + threadIdx.x] = shared[threadIdx.x];
  shared[threadIdx.x] = 1;
}

TEST(Block, DynamicSharedMemoryBeginsAsNaN) {
  DeviceArray<float> seen(3 * 40);
  launch(read_dynamic_shared, 3, 40, 40 * sizeof(float), nullptr, seen.data());
  for (const float value : seen.values()) ASSERT_TRUE(std::isnan(value));
}

__global__ void aligned_shared(int* remainder) {
  *remainder = static_cast<int>(reinterpret_cast<std::uintptr_t>(cuda::dynamic_shared()) % 128);
}
TEST(Block, DynamicSharedMemoryIsAlignedTo128Bytes) {
  DeviceArray<int> remainder(1);
  launch(aligned_shared, 1, 1, 1000, nullptr, remainder.data());
  EXPECT_EQ(remainder.values()[0], 0);
}

__global__ void histogram(int* counts, unsigned* highest) {
  atomicAdd(&counts[threadIdx.x % 4], 1);
  atomicMax(highest, threadIdx.x * 3);
}
TEST(Block, IntegerAtomicsSeeEveryThread) {
  DeviceArray<int> counts(std::vector<int>(4));
  DeviceArray<unsigned> highest(std::vector<unsigned>(1));
  launch(histogram, 5, 64, 0, nullptr, counts.data(), highest.data());
  EXPECT_EQ(counts.values(), (std::vector<int>{80, 80, 80, 80}));
  EXPECT_EQ(highest.values()[0], 189u);
}

// One row a block: what most kernels of the product look like.
template <class T>
__global__ void __launch_bounds__(256) normalise(T* y, const T* x, int width) {
  __shared__ float part[32];
  const T* const row = x + static_cast<std::int64_t>(blockIdx.x) * width;
  const int first = static_cast<int>(threadIdx.x), step = static_cast<int>(blockDim.x);
  float sum = 0;
  for (int i = first; i < width; i += step) sum += row[i];
  const float mean = cuda::block_reduce(sum, part, cuda::Sum{}) / static_cast<float>(width);
  float squares = 0;
  for (int i = first; i < width; i += step) squares += (row[i] - mean) * (row[i] - mean);
  const float variance = cuda::block_reduce(squares, part, cuda::Sum{}) / static_cast<float>(width);
  const float rstd = rsqrtf(variance + 1e-5f);
  for (int i = first; i < width; i += step) {
    y[static_cast<std::int64_t>(blockIdx.x) * width + i] = (row[i] - mean) * rstd;
  }
}

TEST(Block, LayerNormOf512RowsIsRight) {
  constexpr int rows = 512, width = 768;
  std::vector<float> x(rows * width);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 7919 % 1009) / 100;
  const DeviceArray<float> in(x), out(x.size());
  launch(normalise<float>, rows, 256, 0, nullptr, out.data(), in.data(), width);
  const std::vector<float> y = out.values();
  for (std::size_t row = 0; row < rows; ++row) {
    double sum = 0, squares = 0;
    for (std::size_t i = 0; i < width; ++i) sum += x[row * width + i];
    for (std::size_t i = 0; i < width; ++i) squares += std::pow(x[row * width + i] - sum / width, 2);
    for (std::size_t i = 0; i < width; ++i) {
      const double expected = (x[row * width + i] - sum / width) / std::sqrt(squares / width + 1e-5);
      // A thread adds 3 numbers, a tree of 8 levels the rest; each rounding is at most 2^-24 of a part below 10.
      ASSERT_NEAR(y[row * width + i], expected, 32 * 10 * 0x1p-24);
    }
  }
}

__global__ void add_one(float* values) { values[blockIdx.x * blockDim.x + threadIdx.x] += 1.0f; }

TEST(Block, GridWithoutBlocksIsNoLaunch) {
  DeviceArray<float> values(std::vector<float>(4));
  launch(add_one, 0, 32, 0, nullptr, values.data());
  EXPECT_EQ(values.values()[0], 0.0f);
}

TEST(Block, LaunchThatNoGpuTakesNamesTheKernel) {
  const auto refusal = [](dim3 block, std::size_t shared) -> std::string {
    try {
      launch(add_one, 1, block, shared, nullptr, nullptr);
    } catch (const Error& error) {
      return error.what();
    }
    return {};
  };
  EXPECT_EQ(refusal(1025, 0),
            "cuda: launch of add_one: cudaErrorInvalidConfiguration "
            "(invalid configuration argument)");
  EXPECT_TRUE(contains(refusal(32, 200 * 1024), "cudaErrorInvalidValue"));
}

}  // namespace
}  // namespace nll::cuda_on_host
