// Memory of the pretended GPU for a test: filled from and read into vectors, freed at the end.
#pragma once
#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <vector>

#include "kernels/cuda/launch.cuh"
#include "tests/cuda_on_host/block.h"

namespace nll::cuda_on_host {

template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t count) : count_(count) {
    EXPECT_EQ(cudaMalloc(&data_, count * sizeof(T)), cudaSuccess);
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    EXPECT_EQ(cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice), cudaSuccess);
  }
  ~DeviceArray() { EXPECT_EQ(cudaFree(data_), cudaSuccess); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return data_; }
  std::vector<T> values() const {  // after all work of the default stream
    std::vector<T> values(count_);
    EXPECT_EQ(cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost), cudaSuccess);
    return values;
  }

 private:
  T* data_ = nullptr;
  std::size_t count_;
};

// What is said of a fault when the queued work is done; empty where there is none.
inline std::string fault_text() {
  try {
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  } catch (const KernelFault& fault) {
    return fault.what();
  }
  return {};
}

}  // namespace nll::cuda_on_host
