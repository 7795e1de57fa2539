// N tokens of a step, C width, L layers, T context, V vocabulary as stored, e bytes of an element.
#include "src/train/speed_of_light.h"

#include <algorithm>
#include <numeric>

#include "src/model/parameters.h"

namespace nll {

namespace {

// Products below 8192^3 spend more of their time in ramp and epilogue: share of the large products' rate that is
// assumed to be reachable at a width, linear in between.
struct Derating {
  double width, share;
};
constexpr Derating deratings[] = {{768, 0.82}, {1024, 0.86}, {1280, 0.89}, {1600, 0.91}};

double product_share(double width) {
  if (width <= deratings[0].width) return deratings[0].share;
  for (std::size_t i = 1; i < std::size(deratings); ++i) {
    const Derating &low = deratings[i - 1], &high = deratings[i];
    if (width > high.width) continue;
    return low.share + (high.share - low.share) * (width - low.width) / (high.width - low.width);
  }
  return std::end(deratings)[-1].share;
}

double real(std::int64_t value) { return static_cast<double>(value); }

constexpr const char* rates_source =
    "BF16 products and copies measured on such a GPU; attention: the best published rates of heads of 64 "
    "(FlashAttention-3 "
    "and cuDNN; limit: without a mask, practical: causal at 1024 tokens)";

}  // namespace

const std::vector<DeviceRates>& known_device_rates() {
  static const std::vector<DeviceRates> rates = [] {
    DeviceRates h100;
    h100.name = "h100";
    h100.matmul = 798e12;
    h100.memory = 3.0e12;
    h100.attention_forward = 400e12;
    h100.attention_backward = 330e12;
    h100.practical_attention_forward = 290e12;
    h100.practical_attention_backward = 255e12;
    h100.practical_memory_share = 0.9;
    h100.gap_seconds = 1e-6;
    h100.source = rates_source;
    DeviceRates h200 = h100;
    h200.name = "h200";
    h200.matmul = 790e12;
    h200.memory = 4.3e12;
    return std::vector<DeviceRates>{h100, h200};
  }();
  return rates;
}

const DeviceRates* find_device_rates(const DeviceInfo& device) {
  for (const DeviceRates& rates : known_device_rates()) {
    // The PCIe and NVL boards of the same chips are slower.
    if (device.name == planned_device(rates).name) return &rates;
  }
  return nullptr;
}

DeviceRates measured_rates(const DeviceInfo& device, const Numerics& numerics, double matmul, double memory) {
  DeviceRates rates;
  rates.name = device.name;
  rates.matmul = matmul;
  rates.memory = memory;
  // Attention is matrix products too; what the best kernels make of them is known as shares on an H100.
  const DeviceRates& model = known_device_rates().front();
  const auto share = [&](double rate) { return numerics.gpu ? matmul * rate / model.matmul : matmul; };
  rates.attention_forward = share(model.attention_forward);
  rates.attention_backward = share(model.attention_backward);
  rates.practical_attention_forward = share(model.practical_attention_forward);
  rates.practical_attention_backward = share(model.practical_attention_backward);
  rates.practical_memory_share = numerics.gpu ? model.practical_memory_share : 1;
  rates.gap_seconds = numerics.gpu ? model.gap_seconds : 0;
  rates.element_bytes = bytes_of(numerics.compute);
  rates.gpu = numerics.gpu;
  rates.source = "measured here just now";
  return rates;
}

DeviceInfo planned_device(const DeviceRates& rates) {
  DeviceInfo device;
  device.kind = "cuda";
  device.asynchronous = true;
  const bool h200 = rates.name == "h200";
  device.name = h200 ? "NVIDIA H200" : "NVIDIA H100 80GB HBM3";
  device.memory_bytes = std::int64_t{h200 ? 143771 : 81559} << 20;  // as their driver says
  device.available_memory_bytes = device.memory_bytes;
  device.compute_capability = 90;
  device.multiprocessors = 132;
  device.cache_bytes = std::int64_t{50} << 20;
  return device;
}

std::string precision_name(DType compute) {
  return compute == DType::bf16 ? "bf16" : compute == DType::f16 ? "fp16" : "fp32";
}

const char* stage_name(Stage stage) {
  switch (stage) {
    case Stage::block_products:
      return "block products";
    case Stage::head_products:
      return "head products";
    case Stage::attention_forward:
      return "attention forward";
    case Stage::attention_backward:
      return "attention backward";
    case Stage::norm_forward:
      return "residual and norm forward";
    case Stage::norm_backward:
      return "norm backward";
    case Stage::cross_entropy:
      return "cross-entropy";
    case Stage::embeddings:
      return "embeddings";
    case Stage::update:
      return "AdamW and norm";
    case Stage::accumulation_and_gaps:
      return "accumulation and gaps";
    case Stage::recomputation:
      return "recomputation";
  }
  return "";
}

double StepTime::total() const { return std::accumulate(std::begin(seconds), std::end(seconds), 0.0); }

StepTime speed_of_light(const ModelConfig& model, std::int64_t context, std::int64_t sequences,
                        std::int64_t micro_batches, const DeviceRates& rates, Bound bound, Recompute recompute) {
  const bool practical = bound == Bound::practical;
  const double C = real(model.width), L = real(model.layers), T = real(context),
               V = real(padded_vocabulary(model.vocabulary)), e = real(rates.element_bytes);
  const double micro = real(micro_batches), N = real(sequences) * T * micro;
  const double parameters = V * C + real(model.context) * C + L * (12 * C * C + 13 * C) + 2 * C;
  const double matmul = rates.matmul * (practical && rates.gpu ? product_share(C) : 1);
  const double memory = rates.memory * (practical ? rates.practical_memory_share : 1);
  const double attention_forward = practical ? rates.practical_attention_forward : rates.attention_forward;
  const double attention_backward = practical ? rates.practical_attention_backward : rates.attention_backward;
  // Time to move so many rows of C elements a token.
  const auto rows = [&](double count) { return count * N * C * e / memory; };

  StepTime time;
  const auto at = [&](Stage stage) -> double& { return time.seconds[static_cast<int>(stage)]; };
  // 12 C^2 weights a layer; each is multiplied once forward and twice backward.
  at(Stage::block_products) = 6 * 12 * L * C * C * N / matmul;
  at(Stage::head_products) = 6 * V * C * N / matmul;
  // Two products of T x T x D forward, five backward; the mask halves them.
  at(Stage::attention_forward) = 2 * T * C * L * N / attention_forward;
  at(Stage::attention_backward) = 5 * T * C * L * N / attention_backward;
  // Twice a layer: two rows are read, their sum and its norm are written. Backward: gradient of the norm, its input and
  // the residual's gradient are read, the sum is written; and the last norm.
  at(Stage::norm_forward) = rows(8 * L);
  at(Stage::norm_backward) = rows(8 * L + 3);
  at(Stage::cross_entropy) = 2 * e * V * N / memory;
  // Forward the sum of the two and the first norm; backward one read for each of the two, and about a third of the
  // token embedding's gradient is touched by a micro-batch.
  at(Stage::embeddings) = rows(4) + rows(2) + micro * 0.3 * 2 * e * V * C / memory;
  // Read: gradient, weight, both moments. Written: the last three, and a rounded copy. The norm reads the gradient.
  at(Stage::update) = (e + 24 + (e < 4 ? e : 0) + e) * parameters / memory;
  at(Stage::accumulation_and_gaps) = (micro - 1) * e * parameters / memory + micro * (22 * L + 20) * rates.gap_seconds;
  // Of all layers but the last. GELU reads and writes four rows, a norm one; a block is its forward pass but for the
  // last product and for what joins it to the residual.
  double& again = at(Stage::recomputation);
  if (recompute == Recompute::block) {
    again = 2 * 8 * (L - 1) * C * C * N / matmul + 2 * T * C * (L - 1) * N / attention_forward + rows(6 * (L - 1));
  } else if (recompute != Recompute::none) {
    again = rows((recompute == Recompute::norm ? 12 : 8) * (L - 1));
  }
  return time;
}

}  // namespace nll
