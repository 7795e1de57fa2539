#include "tests/cuda_on_host/collectives.h"

#include <gtest/gtest.h>

#include <cuda_bf16.h>
#include <cmath>

#include "tests/cuda_on_host/device_array.h"

namespace nll::cuda_on_host {
namespace {

using cuda::launch;

constexpr unsigned all = 0xffffffffu;

template <class T>
__global__ void shuffle_all_ways(T* to, int argument, int width) {
  const int i = static_cast<int>(threadIdx.x);
  const T own = static_cast<T>(1000 + i);
  to[i] = __shfl_sync(all, own, argument, width);
  to[64 + i] = __shfl_up_sync(all, own, static_cast<unsigned>(argument), width);
  to[128 + i] = __shfl_down_sync(all, own, static_cast<unsigned>(argument), width);
  to[192 + i] = __shfl_xor_sync(all, own, argument, width);
}

// Where a lane's value comes from, by the programming guide.
int source_of(int way, int lane, int argument, int width) {
  const int begin = lane / width * width, end = begin + width;
  switch (way) {
    case 0:
      return begin + argument % width;
    case 1:
      return lane - argument < begin ? lane : lane - argument;
    case 2:
      return lane + argument >= end ? lane : lane + argument;
    default:
      return (lane ^ argument) >= end ? lane : lane ^ argument;
  }
}

template <class T>
void expect_every_shuffle() {
  DeviceArray<T> got(256);
  for (int width = 1; width <= 32; width *= 2) {
    for (int argument = 0; argument < 32; ++argument) {
      launch(shuffle_all_ways<T>, 1, 64, 0, nullptr, got.data(), argument, width);
      const std::vector<T> values = got.values();
      for (int way = 0; way < 4; ++way) {
        for (int i = 0; i < 64; ++i) {
          const int expected = 1000 + i / 32 * 32 + source_of(way, i % 32, argument, width);
          ASSERT_EQ(values[static_cast<std::size_t>(64 * way + i)], static_cast<T>(expected))
              << "way " << way << ", lane " << i << ", argument " << argument << ", width " << width;
        }
      }
    }
  }
}

TEST(Shuffle, EveryWayEveryWidthAndArgument) { expect_every_shuffle<int>(); }
TEST(Shuffle, EightByteValues) { expect_every_shuffle<double>(); }

__global__ void shuffle_two_bytes(__nv_bfloat16* to) {
  to[threadIdx.x] = __shfl_xor_sync(all, __float2bfloat16_rn(static_cast<float>(threadIdx.x)), 1);
}
TEST(Shuffle, TwoByteValues) {
  DeviceArray<__nv_bfloat16> got(32);
  launch(shuffle_two_bytes, 1, 32, 0, nullptr, got.data());
  const std::vector<__nv_bfloat16> values = got.values();
  for (std::size_t i = 0; i < 32; ++i) ASSERT_EQ(__bfloat162float(values[i]), static_cast<float>(i ^ 1));
}

__global__ void shuffle_halves(float* to) {
  const unsigned lane = threadIdx.x;
  const unsigned mask = lane < 16 ? 0x0000ffffu : 0xffff0000u;
  float value = static_cast<float>(lane);
  for (int distance = 8; distance > 0; distance /= 2) value += __shfl_xor_sync(mask, value, distance);
  to[lane] = value + __shfl_sync(mask, static_cast<float>(lane), lane < 16 ? 20 : 3) * 0;
}
TEST(Shuffle, MasksSplitAWarpAndALaneOutsideGivesNaN) {
  DeviceArray<float> sums(32);
  launch(shuffle_halves, 1, 32, 0, nullptr, sums.data());
  for (const float sum : sums.values()) ASSERT_TRUE(std::isnan(sum));
}

__global__ void sum_of_halves(float* to) {
  const unsigned mask = threadIdx.x < 16 ? 0x0000ffffu : 0xffff0000u;
  float value = static_cast<float>(threadIdx.x);
  for (int distance = 8; distance > 0; distance /= 2) value += __shfl_xor_sync(mask, value, distance);
  to[threadIdx.x] = value;
}
TEST(Shuffle, HalvesOfAWarpSumApart) {
  DeviceArray<float> sums(32);
  launch(sum_of_halves, 1, 32, 0, nullptr, sums.data());
  const std::vector<float> values = sums.values();
  for (std::size_t i = 0; i < 32; ++i) ASSERT_EQ(values[i], i < 16 ? 120.0f : 376.0f);
}

__global__ void vote(unsigned* to) {
  const int lane = static_cast<int>(threadIdx.x);
  const unsigned ballot = __ballot_sync(all, lane % 3 == 0);
  const int some = __any_sync(all, lane == 31), none = __any_sync(all, lane == 32);
  const int every = __all_sync(all, lane < 32), not_every = __all_sync(all, lane < 31);
  to[lane] = ballot;
  to[32 + lane] = static_cast<unsigned>(some + 2 * none + 4 * every + 8 * not_every);
}
TEST(Vote, BallotAnyAndAll) {
  DeviceArray<unsigned> got(64);
  launch(vote, 1, 32, 0, nullptr, got.data());
  const std::vector<unsigned> values = got.values();
  for (std::size_t i = 0; i < 32; ++i) {
    ASSERT_EQ(values[i], 0x49249249u);
    ASSERT_EQ(values[32 + i], 5u);
  }
}

__global__ void pass_on(int* to) {
  __shared__ int box[32];
  box[threadIdx.x] = static_cast<int>(threadIdx.x);
  __syncwarp();
  to[threadIdx.x] = box[31 - threadIdx.x];
}
TEST(Warp, SyncwarpShowsWhatOtherLanesWrote) {
  DeviceArray<int> got(32);
  launch(pass_on, 1, 32, 0, nullptr, got.data());
  const std::vector<int> values = got.values();
  for (int i = 0; i < 32; ++i) ASSERT_EQ(values[static_cast<std::size_t>(i)], 31 - i);
}

__global__ void leave_then_shuffle(unsigned mask) {
  if (threadIdx.x == 33) return;
  if (threadIdx.x >= 32) __shfl_xor_sync(mask, 1.0f, 1);
}
TEST(Warp, ShuffleWithALaneThatHasReturnedIsAFault) {
  launch(leave_then_shuffle, 1, 64, 0, nullptr, all);
  const std::string text = fault_text();
  EXPECT_NE(text.find("thread (32,0,0)"), std::string::npos) << text;
  EXPECT_NE(text.find("waits in __shfl_xor_sync for thread (33,0,0), which has returned"), std::string::npos) << text;
}
TEST(Warp, ShuffleWhoseMaskNamesNoLaneOfTheBlockIsAFault) {
  launch(leave_then_shuffle, 1, 40, 0, nullptr, 0xfffffffdu);
  const std::string text = fault_text();
  EXPECT_NE(text.find("for lane 8, which the block does not have"), std::string::npos) << text;
}
TEST(Warp, MaskWithoutTheCallingLaneIsAFault) {
  launch(leave_then_shuffle, 1, 64, 0, nullptr, 1u);
  const std::string text = fault_text();
  EXPECT_NE(text.find("__shfl_xor_sync: the mask does not name the calling lane"), std::string::npos) << text;
}

__global__ void shuffle_in_two_places() {
  if (threadIdx.x < 16) {
    __shfl_sync(all, 1, 0);
  } else {
    __shfl_sync(all, 2, 0);
  }
}
TEST(Warp, ShufflesInTwoBranchesAreAFault) {
  launch(shuffle_in_two_places, 1, 32, 0, nullptr);
  const std::string text = fault_text();
  EXPECT_NE(text.find("for thread (16,0,0), which waits in __shfl_sync at "), std::string::npos) << text;
}

}  // namespace
}  // namespace nll::cuda_on_host
