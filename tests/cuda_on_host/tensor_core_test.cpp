#include "tests/cuda_on_host/tensor_core.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "kernels/cuda/number.cuh"
#include "kernels/cuda/ptx.cuh"
#include "tests/cuda_on_host/device_array.h"

namespace nll::cuda_on_host {
namespace {

using cuda::launch;

// d (16,8) = a (16,16) b (16,8) + 1 by the layouts of the PTX manual, element by element.
template <class T>
__global__ void multiply_by_layout(float* d, const T* a, const T* b) {
  const unsigned g = threadIdx.x / 4, t = threadIdx.x % 4;
  const auto two = [](T low, T high) {
    unsigned short bits[2];
    std::memcpy(&bits[0], &low, 2);
    std::memcpy(&bits[1], &high, 2);
    return static_cast<std::uint32_t>(bits[0]) | static_cast<std::uint32_t>(bits[1]) << 16;
  };
  const auto of_a = [&](unsigned row, unsigned column) { return two(a[row * 16 + column], a[row * 16 + column + 1]); };
  const auto of_b = [&](unsigned row, unsigned column) { return two(b[row * 8 + column], b[(row + 1) * 8 + column]); };
  const std::uint32_t fa[4] = {of_a(g, 2 * t), of_a(g + 8, 2 * t), of_a(g, 2 * t + 8), of_a(g + 8, 2 * t + 8)};
  const std::uint32_t fb[2] = {of_b(2 * t, g), of_b(2 * t + 8, g)};
  float sums[4] = {1, 1, 1, 1};
  cuda::mma_m16n8k16<T>(sums, fa, fb);
  d[g * 8 + 2 * t] = sums[0];
  d[g * 8 + 2 * t + 1] = sums[1];
  d[(g + 8) * 8 + 2 * t] = sums[2];
  d[(g + 8) * 8 + 2 * t + 1] = sums[3];
}

// The same with the factors brought from shared memory by ldmatrix, b both ways: as stored (k,n) and transposed (n,k).
template <class T>
__global__ void multiply_by_ldmatrix(float* d, const T* a, const T* b, bool b_is_transposed) {
  __shared__ __align__(16) T tile_a[16 * 16];
  __shared__ __align__(16) T tile_b[16 * 8];
  const unsigned lane = threadIdx.x;
  for (unsigned i = lane; i < 256; i += 32) tile_a[i] = a[i];
  for (unsigned i = lane; i < 128; i += 32) tile_b[i] = b[b_is_transposed ? i % 16 * 8 + i / 16 : i];
  __syncwarp();
  std::uint32_t fa[4], fb[2];
  cuda::ldmatrix_x4(fa, &tile_a[(lane % 16) * 16 + lane / 16 * 8]);
  if (b_is_transposed) {
    cuda::ldmatrix_x2(fb, &tile_b[(lane % 8) * 16 + lane / 8 % 2 * 8]);
  } else {
    cuda::ldmatrix_x2_transposed(fb, &tile_b[(lane % 16) * 8]);
  }
  float sums[4] = {1, 1, 1, 1};
  cuda::mma_m16n8k16<T>(sums, fa, fb);
  const unsigned g = lane / 4, t = lane % 4;
  for (unsigned i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sums[i];
}

template <class T>
class MatrixUnit : public testing::Test {
 protected:
  // Small integers: every sum is exact in FP32, so the order does not matter.
  MatrixUnit() {
    std::mt19937 engine(7);
    std::uniform_int_distribution<int> pick(-9, 9);
    for (int& x : ints_) x = pick(engine);
    std::vector<T> a, b;
    for (int i = 0; i < 256; ++i) a.push_back(cuda::from_float<T>(static_cast<float>(ints_[i])));
    for (int i = 256; i < 384; ++i) b.push_back(cuda::from_float<T>(static_cast<float>(ints_[i])));
    a_ = std::make_unique<DeviceArray<T>>(a);
    b_ = std::make_unique<DeviceArray<T>>(b);
  }
  void expect_product(const std::vector<float>& d) const {
    for (int row = 0; row < 16; ++row) {
      for (int column = 0; column < 8; ++column) {
        int sum = 1;
        for (int k = 0; k < 16; ++k) sum += ints_[row * 16 + k] * ints_[256 + k * 8 + column];
        ASSERT_EQ(d[static_cast<std::size_t>(row * 8 + column)], static_cast<float>(sum)) << row << ", " << column;
      }
    }
  }
  int ints_[384];
  std::unique_ptr<DeviceArray<T>> a_, b_;
  DeviceArray<float> d_{128};
};
using HalfTypes = testing::Types<__nv_bfloat16, __half>;
TYPED_TEST_SUITE(MatrixUnit, HalfTypes);

TYPED_TEST(MatrixUnit, FragmentsFollowThePtxManual) {
  launch(multiply_by_layout<TypeParam>, 1, 32, 0, nullptr, this->d_.data(), this->a_->data(), this->b_->data());
  this->expect_product(this->d_.values());
}
TYPED_TEST(MatrixUnit, LdmatrixMakesTheFragments) {
  for (const bool transposed : {false, true}) {
    launch(multiply_by_ldmatrix<TypeParam>, 1, 32, 0, nullptr, this->d_.data(), this->a_->data(), this->b_->data(),
           transposed);
    this->expect_product(this->d_.values());
  }
}

__global__ void load_four(std::uint32_t* to, bool transposed) {
  __shared__ __align__(16) std::uint16_t tile[32 * 8];
  for (unsigned i = threadIdx.x; i < 256; i += 32) tile[i] = static_cast<std::uint16_t>(i);
  __syncwarp();
  std::uint32_t r[4];
  if (transposed) {
    cuda::ldmatrix_x4_transposed(r, &tile[threadIdx.x * 8]);
  } else {
    cuda::ldmatrix_x4(r, &tile[threadIdx.x * 8]);
  }
  for (unsigned j = 0; j < 4; ++j) to[threadIdx.x * 4 + j] = r[j];
}
TEST(Ldmatrix, FourMatricesStraightAndTransposed) {
  DeviceArray<std::uint32_t> got(128);
  for (const bool transposed : {false, true}) {
    launch(load_four, 1, 32, 0, nullptr, got.data(), transposed);
    const std::vector<std::uint32_t> values = got.values();
    for (unsigned lane = 0; lane < 32; ++lane) {
      for (unsigned j = 0; j < 4; ++j) {
        const unsigned g = lane / 4, t = lane % 4;
        const unsigned low = 64 * j + (transposed ? 2 * t * 8 + g : g * 8 + 2 * t);
        ASSERT_EQ(values[lane * 4 + j], low | (low + (transposed ? 8 : 1)) << 16);
      }
    }
  }
}

__global__ void misaligned_load() {
  __shared__ __align__(16) unsigned char tile[1024];
  std::uint32_t r[4];
  cuda::ldmatrix_x4(r, &tile[threadIdx.x * 16 + (threadIdx.x == 9 ? 8 : 0)]);
}
TEST(Ldmatrix, MisalignedRowIsAFault) {
  launch(misaligned_load, 1, 32, 0, nullptr);
  const std::string text = fault_text();
  EXPECT_NE(text.find("thread (9,0,0)"), std::string::npos) << text;
  EXPECT_NE(text.find("ldmatrix_x4: an address that is no multiple of 16"), std::string::npos) << text;
}

// Three copies in three groups; `seen` is what shared memory holds after waiting until `left` groups are on their way.
template <int left>
__global__ void copy_in_groups(float* seen, const float* from) {
  __shared__ __align__(16) float box[12];
  for (int i = 0; i < 3; ++i) {
    cuda::cp_async_16(&box[4 * i], from + 4 * i, i != 1);
    cuda::cp_async_commit();
  }
  cuda::cp_async_wait<left>();
  for (int i = 0; i < 12; ++i) seen[i] = box[i];
  cuda::cp_async_wait<0>();
  for (int i = 0; i < 12; ++i) seen[12 + i] = box[i];
}
template <int left>
void expect_copies() {
  std::vector<float> source;
  for (int i = 1; i <= 12; ++i) source.push_back(static_cast<float>(i));
  const DeviceArray<float> from(source), seen(24);
  launch(copy_in_groups<left>, 1, 1, 0, nullptr, seen.data(), from.data());
  const std::vector<float> values = seen.values();
  for (int i = 0; i < 12; ++i) {
    const float arrived = i / 4 == 1 ? 0.0f : static_cast<float>(i + 1);
    const float value = values[static_cast<std::size_t>(i)];
    if (i / 4 < 3 - left) {
      ASSERT_EQ(value, arrived);
    } else {
      ASSERT_TRUE(std::isnan(value)) << i;
    }
    ASSERT_EQ(values[static_cast<std::size_t>(12 + i)], arrived);
  }
}
TEST(AsynchronousCopy, ArrivesAtItsWaitAndNotBefore) {
  expect_copies<0>();
  expect_copies<1>();
  expect_copies<2>();
}

TEST(Exp2, FlushesSubnormals) {
  EXPECT_EQ(cuda::exp2_approximate(3.0f), 8.0f);
  EXPECT_EQ(cuda::exp2_approximate(-127.0f), 0.0f);
  EXPECT_EQ(cuda::exp2_approximate(-INFINITY), 0.0f);
  EXPECT_EQ(cuda::exp2_approximate(1e-40f), 1.0f);
}

}  // namespace
}  // namespace nll::cuda_on_host
