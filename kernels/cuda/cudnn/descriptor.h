// Descriptor: one object of cuDNN's backend API. It is made, given its attributes and finished; then it is constant.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "kernels/cuda/cudnn/library.h"

namespace nll::cuda {

class Descriptor {
 public:
  Descriptor(const CudnnLibrary& library, cudnnBackendDescriptorType_t type);
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept
      : library_(other.library_), descriptor_(std::exchange(other.descriptor_, nullptr)) {}
  Descriptor& operator=(Descriptor&&) = delete;

  // All of these throw what CudnnLibrary::check makes of a refusal.
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t count, const void* values);
  void set(cudnnBackendAttributeName_t name, bool value) { set(name, CUDNN_TYPE_BOOLEAN, 1, &value); }
  void set(cudnnBackendAttributeName_t name, std::int64_t value) { set(name, CUDNN_TYPE_INT64, 1, &value); }
  void set(cudnnBackendAttributeName_t name, cudnnDataType_t value) { set(name, CUDNN_TYPE_DATA_TYPE, 1, &value); }
  void set(cudnnBackendAttributeName_t name, cudnnHandle_t value) { set(name, CUDNN_TYPE_HANDLE, 1, &value); }
  void set(cudnnBackendAttributeName_t name, const Descriptor& value) {
    set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value.descriptor_);
  }
  void set(cudnnBackendAttributeName_t name, const std::vector<Descriptor>& values);
  void finish();
  // The same, but a refusal is only told.
  cudnnStatus_t try_to_finish();

  // Of a finished descriptor. `most` values at `values`; returns how many there are.
  std::int64_t get(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t most,
                   void* values) const;
  cudnnBackendDescriptor_t get() const { return descriptor_; }

 private:
  const CudnnLibrary& library_;
  cudnnBackendDescriptor_t descriptor_ = nullptr;
};

}  // namespace nll::cuda
