// Numerics: in which types a run computes, and on what kind of device. Decided once, before anything is planned.
#pragma once
#include <cstdint>

#include "kernels/device.h"
#include "kernels/tensor.h"
#include "src/config/config.h"

namespace nll {

// The default is the CPU's: everything FP32.
struct Numerics {
  DType compute = DType::f32;   // activations, and the weights that are multiplied
  DType residual = DType::f32;  // the residual stream and its gradient
  DType logits = DType::f32;    // between the head's product and the softmax
  DType moments = DType::f32;   // of the optimizer
  bool gpu = false;
  std::int64_t cache_bytes = 0;  // of the GPU

  // Weights are multiplied as rounded copies of FP32 master weights.
  bool rounded() const { return compute != DType::f32; }
};

// Throws Error(usage) for a precision that the device does not have.
Numerics resolve_numerics(const Config& config, const DeviceInfo& device);

}  // namespace nll
