#include "kernels/cuda/cudnn/descriptor.h"

namespace nll::cuda {

Descriptor::Descriptor(const CudnnLibrary& library, cudnnBackendDescriptorType_t type) : library_(library) {
  library_.check(library_.create_descriptor(type, &descriptor_), "making cuDNN's descriptor " + std::to_string(type));
}

Descriptor::~Descriptor() {
  if (descriptor_ != nullptr) (void)library_.destroy_descriptor(descriptor_);
}

void Descriptor::set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t count,
                     const void* values) {
  library_.check(library_.set_attribute(descriptor_, name, type, count, values),
                 "setting cuDNN's attribute " + std::to_string(name));
}

void Descriptor::set(cudnnBackendAttributeName_t name, const std::vector<Descriptor>& values) {
  std::vector<cudnnBackendDescriptor_t> descriptors;
  for (const Descriptor& value : values) descriptors.push_back(value.descriptor_);
  set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<std::int64_t>(descriptors.size()), descriptors.data());
}

cudnnStatus_t Descriptor::try_to_finish() { return library_.finalize(descriptor_); }

void Descriptor::finish() { library_.check(try_to_finish(), "finishing a description for cuDNN"); }

std::int64_t Descriptor::get(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t most,
                             void* values) const {
  std::int64_t count = 0;
  library_.check(library_.get_attribute(descriptor_, name, type, most, &count, values),
                 "reading cuDNN's attribute " + std::to_string(name));
  return count;
}

}  // namespace nll::cuda
