// Speed of light: the least time that an optimizer step of a GPT-2 can take on a device, stage by stage, from the rates
// that the device sustains. A step is either matrix work or traffic with the memory: each stage's operations or bytes
// are divided by the rate they are bound by, and the stages are added up. What a measured step needs more is its gap.
//
// Counted is the least that a BF16 (on a CPU FP32) trainer moves, not what this one does: logits are read once and
// written once, gradients of weights are as wide as activations, and biases, GELU and their gradients ride on products.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "src/config/config.h"
#include "src/model/gpt.h"
#include "src/model/numerics.h"

namespace nll {

// What a device sustains. Operations and bytes are per second.
struct DeviceRates {
  std::string name;              // "h100"
  double matmul = 0;             // large matrix products
  double memory = 0;             // bytes of a copy
  double attention_forward = 0;  // causal, half of the square counted
  double attention_backward = 0;
  // The same of the best kernels known, where `matmul` and so on are limits.
  double practical_attention_forward = 0, practical_attention_backward = 0;
  double practical_memory_share = 1;  // of a copy's rate, in kernels that also compute
  double gap_seconds = 0;             // between two kernels
  std::int64_t element_bytes = 2;     // of activations, rounded weights and their gradients
  bool gpu = true;
  std::string source;  // where all this comes from
};

// "h100" and "h200": measured once on such GPUs; see speed_of_light.cpp.
const std::vector<DeviceRates>& known_device_rates();
// Those of the GPU with this driver's name; null: not known.
const DeviceRates* find_device_rates(const DeviceInfo& device);
// Of any device, from what was measured on it: products (operations a second) and memory (bytes a second).
DeviceRates measured_rates(const DeviceInfo& device, const Numerics& numerics, double matmul, double memory);
// The GPU that a name of known_device_rates() stands for, to plan for where it is not.
DeviceInfo planned_device(const DeviceRates& rates);

// "fp32", "bf16" or "fp16", as the config says it.
std::string precision_name(DType compute);

enum class Stage {
  block_products,  // of the transformer's blocks, forward and backward
  head_products,
  attention_forward,
  attention_backward,
  norm_forward,  // residual additions and norms
  norm_backward,
  cross_entropy,
  embeddings,
  update,                 // AdamW and the gradients' norm
  accumulation_and_gaps,  // reading gradients to add to them, and between kernels
  recomputation           // of activations that were not kept
};
inline constexpr int stage_count = 11;
const char* stage_name(Stage stage);

// limit: at the rates themselves. practical: products derated as those of this width are, memory and attention at what
// the best kernels reach.
enum class Bound { limit, practical };

struct StepTime {
  double seconds[stage_count] = {};
  double total() const;
};

// An optimizer step of `micro_batches` times `sequences` sequences of `context` tokens on one device.
StepTime speed_of_light(const ModelConfig& model, std::int64_t context, std::int64_t sequences,
                        std::int64_t micro_batches, const DeviceRates& rates, Bound bound,
                        Recompute recompute = Recompute::none);

}  // namespace nll
