// Published peaks of GPUs. A name of the driver is matched by the first row whose words it all contains, so the special
// case stands before the general one.
#include <string_view>

#include "kernels/machine.h"

namespace nll {

namespace {

struct Published {
  std::string_view words[2];  // both are in the name
  double bf16, f16, f32;      // 10^12 operations a second, dense; 0: the type has no matrix unit
  double memory;              // 10^9 bytes a second
};

// Datasheets print the rate with structured sparsity for most of these; half of that stands here.
constexpr Published table[] = {
    // NVIDIA Blackwell architecture brief and HGX B200 datasheet
    {{"B200", ""}, 2250, 2250, 75, 8000},
    // NVIDIA RTX Blackwell GPU architecture whitepaper 1.1, appendix A: products of FP16 summed in FP32
    {{"RTX 5090", ""}, 209.5, 209.5, 104.8, 1792},
    // NVIDIA H200 datasheet: SXM and NVL
    {{"H200", "NVL"}, 835.5, 835.5, 60, 4800},
    {{"H200", ""}, 989.4, 989.4, 66.9, 4800},
    // NVIDIA GH200 datasheet: 96 GB of HBM3, 144 GB of HBM3e
    {{"GH200", "144G"}, 989.4, 989.4, 66.9, 4900},
    {{"GH200", ""}, 989.4, 989.4, 66.9, 4000},
    // NVIDIA H100 Tensor Core GPU architecture whitepaper (SXM5, PCIe) and H100 NVL product brief
    {{"H100", "PCIe"}, 756, 756, 51.2, 2000},
    {{"H100", "NVL"}, 835.5, 835.5, 60, 3900},
    {{"H100", ""}, 989.4, 989.4, 66.9, 3350},
    // NVIDIA A100 datasheet: 80 GB SXM, 80 GB PCIe, 40 GB
    {{"A100-SXM", "80GB"}, 312, 312, 19.5, 2039},
    {{"A100", "80GB"}, 312, 312, 19.5, 1935},
    {{"A100", ""}, 312, 312, 19.5, 1555},
    {{"A30", ""}, 165, 165, 10.3, 933},
    // NVIDIA Ada GPU architecture whitepaper and the datasheets of L40S, L40, L4 and RTX 6000 Ada
    {{"L40S", ""}, 362.05, 362.05, 91.6, 864},
    {{"L40", ""}, 181.05, 181.05, 90.5, 864},
    {{"L4", ""}, 121, 121, 30.3, 300},
    {{"RTX 6000 Ada", ""}, 364.25, 364.25, 91.1, 960},
    {{"RTX 4090", ""}, 165.2, 165.2, 82.6, 1008},
    // NVIDIA Ampere GA102 GPU architecture whitepaper and the datasheets of A40, A10 and RTX A6000
    {{"A6000", ""}, 154.8, 154.8, 38.7, 768},
    {{"A40", ""}, 149.7, 149.7, 37.4, 696},
    {{"A10G", ""}, 70, 70, 35, 600},
    {{"A10", ""}, 125, 125, 31.2, 600},
    {{"RTX 3090", ""}, 71, 71, 35.6, 936},
    // NVIDIA V100 and T4 datasheets; neither has BF16
    {{"V100-SXM", ""}, 0, 125, 15.7, 900},
    {{"V100", ""}, 0, 112, 14, 900},
    {{"T4", ""}, 0, 65, 8.1, 320},
};

// `word` stands in `name`, and no letter or digit goes on with it: "L4" is not in "L40".
bool has_word(std::string_view name, std::string_view word) {
  const auto is_digit_or_letter = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
  };
  for (std::size_t at = name.find(word); at != std::string_view::npos; at = name.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    const bool begins = at == 0 || !is_digit_or_letter(name[at - 1]);
    // "A100-SXM" goes on with the number of the socket: "A100-SXM4-80GB".
    const bool ends = end == name.size() || !is_digit_or_letter(name[end]) || word.ends_with("SXM");
    if (begins && ends) return true;
  }
  return false;
}

const Published* find(const DeviceInfo& device) {
  if (device.kind == "cpu") return nullptr;
  // A slice of a GPU, and the slower chips that share a name.
  if (has_word(device.name, "MIG") || has_word(device.name, "Laptop") || device.name.ends_with(" D")) return nullptr;
  for (const Published& row : table) {
    if (has_word(device.name, row.words[0]) && (row.words[1].empty() || has_word(device.name, row.words[1]))) {
      return &row;
    }
  }
  return nullptr;
}

}  // namespace

double peak_matmul_flops(const DeviceInfo& device, DType type) {
  const Published* row = find(device);
  if (row == nullptr) return 0;
  switch (type) {
    case DType::bf16:
      return row->bf16 * 1e12;
    case DType::f16:
      return row->f16 * 1e12;
    case DType::f32:
      return row->f32 * 1e12;
    default:
      return 0;
  }
}

double peak_memory_bytes(const DeviceInfo& device) {
  const Published* row = find(device);
  return row == nullptr ? 0 : row->memory * 1e9;
}

}  // namespace nll
