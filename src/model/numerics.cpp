#include "src/model/numerics.h"

#include <fmt/core.h>

namespace nll {

namespace {

constexpr int first_with_bf16 = 80;  // compute capability of Ampere

DType compute_type(const std::string& asked, const DeviceInfo& device) {
  const bool gpu = device.kind == "cuda";
  if (asked == "auto") {
    if (!gpu) return DType::f32;
    return device.compute_capability >= first_with_bf16 ? DType::bf16 : DType::f16;
  }
  if (asked == "fp32") return DType::f32;
  if (!gpu) {
    throw Error(Exit::usage, fmt::format("precision.compute: \"{}\" needs a GPU, and this run is on the CPU", asked),
                "--set precision.compute=fp32");
  }
  if (asked == "bf16" && device.compute_capability < first_with_bf16) {
    throw Error(Exit::usage,
                fmt::format("precision.compute: \"bf16\" needs compute capability 8.0, and {} has {}.{}", device.name,
                            device.compute_capability / 10, device.compute_capability % 10),
                "--set precision.compute=fp16");
  }
  return asked == "bf16" ? DType::bf16 : DType::f16;
}

}  // namespace

Numerics resolve_numerics(const Config& config, const DeviceInfo& device) {
  Numerics numerics;
  numerics.gpu = device.kind == "cuda";
  numerics.cache_bytes = device.cache_bytes;
  numerics.compute = compute_type(config.precision.compute, device);
  numerics.residual = config.precision.residual == "fp32" ? DType::f32 : numerics.compute;
  if (config.optimizer.moments == "bf16") {
    if (!numerics.gpu) {
      throw Error(Exit::usage, "optimizer.moments: \"bf16\" needs a GPU, and this run is on the CPU",
                  "--set optimizer.moments=fp32");
    }
    numerics.moments = DType::bf16;
  }
  if (config.head.logits == "bfloat16") {
    if (numerics.compute != DType::bf16) {
      throw Error(Exit::usage, "head.logits: \"bfloat16\" needs precision.compute \"bf16\" on a GPU",
                  "--set head.logits=float32");
    }
    numerics.logits = DType::bf16;
  }
  return numerics;
}

}  // namespace nll
