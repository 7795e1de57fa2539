#include "tests/checkpoint/sample_checkpoint.h"

#include <cstring>
#include <random>

namespace nll::testing {
namespace {

Tensor make_tensor(void* data, DType type, const std::vector<std::int64_t>& dims) {
  if (dims.empty()) return {data, type, {}};
  if (dims.size() == 1) return {data, type, {dims[0]}};
  return {data, type, {dims[0], dims[1]}};
}

bool same_tensors(const SafetensorsFile& file, const std::vector<NamedTensor>& tensors, std::string& why) {
  if (file.names().size() != tensors.size()) {
    why = "number of tensors";
    return false;
  }
  for (const auto& [name, tensor, whole] : tensors) {
    std::vector<std::int64_t> dims;
    for (int i = 0; i < tensor.rank(); ++i) dims.push_back(tensor.dim(i));
    std::vector<std::uint8_t> read(static_cast<std::size_t>(tensor.bytes()) + 1, 0xA5);
    file.read(name, make_tensor(read.data(), tensor.type(), dims));
    if (read.back() != 0xA5 || std::memcmp(read.data(), tensor.data(), static_cast<std::size_t>(tensor.bytes())) != 0) {
      why = name;
      return false;
    }
  }
  return true;
}

bool same_moments(OptimizerMoments moments, const std::vector<NamedTensor>& tensors, std::string& why) {
  if (moments.shapes().size() != tensors.size()) {
    why = "number of tensors";
    return false;
  }
  for (const auto& [name, tensor, whole] : tensors) {
    std::vector<std::int64_t> dims;
    for (int i = 0; i < tensor.rank(); ++i) dims.push_back(tensor.dim(i));
    std::vector<std::uint8_t> read(static_cast<std::size_t>(tensor.bytes()));
    moments.read(name, 0, {read.data(), tensor.type(), {tensor.size()}});
    if (moments.shapes().at(name) != dims || std::memcmp(read.data(), tensor.data(), read.size()) != 0) {
      why = name;
      return false;
    }
  }
  return true;
}

}  // namespace

SampleCheckpoint::SampleCheckpoint(std::int64_t step, int variant, std::int64_t elements) {
  const auto seed = static_cast<std::uint32_t>(step * 1000 + variant);
  content_.step = step;
  content_.weights = {{"wte.weight", fill(DType::f32, {elements / 8, 8}, seed + 1)},
                      {"h.0.ln_1.bias", fill(DType::f32, {7}, seed + 2)},
                      {"h.0.scale", fill(DType::bf16, {5}, seed + 3)},
                      {"h.0.none", fill(DType::f32, {0, 3}, seed + 4)}};
  content_.optimizer = {{"m/wte.weight", fill(DType::f32, {elements / 8, 8}, seed + 5)},
                        {"v/wte.weight", fill(DType::f64, {elements / 8, 8}, seed + 6)},
                        {"count", fill(DType::i32, {}, seed + 7)}};
  content_.texts = {{"config.json", "{\"variant\": " + std::to_string(seed) + "}"},
                    {"empty.txt", ""},
                    {"state.json", "{\"step\": " + std::to_string(step) + "}"}};
  content_.manifest = {{"build", "test \"quoted\" \xC3\xA4"}, {"variant", std::to_string(variant)}};
}

Tensor SampleCheckpoint::fill(DType type, std::vector<std::int64_t> dims, std::uint32_t seed) {
  std::int64_t bytes = bytes_of(type);
  for (const std::int64_t dim : dims) bytes *= dim;
  std::mt19937 random(seed);
  std::vector<std::uint8_t>& memory = memory_.emplace_back(static_cast<std::size_t>(bytes) + 1);
  for (std::uint8_t& byte : memory) byte = static_cast<std::uint8_t>(random() >> 24);
  return make_tensor(memory.data(), type, dims);
}

std::string SampleCheckpoint::difference(FileOps& files, const std::string& folder) const {
  try {
    const CheckpointFolder opened(files, folder);
    std::string why;
    if (opened.step() != content_.step) return "step " + std::to_string(opened.step());
    if (opened.manifest() != content_.manifest) return "facts";
    if (!same_tensors(opened.weights(), content_.weights, why)) return "weights: " + why;
    if (!same_moments(opened.optimizer(), content_.optimizer, why)) return "optimizer: " + why;
    for (const auto& [name, text] : content_.texts) {
      if (opened.text(name) != text) return name;
    }
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

std::string safetensors_bytes(const std::string& header, std::int64_t data_bytes) {
  const std::uint64_t header_bytes = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &header_bytes, 8);
  bytes += header;
  for (std::int64_t i = 0; i < data_bytes; ++i) bytes += static_cast<char>(i & 0xFF);
  return bytes;
}

}  // namespace nll::testing
