// Safetensors, read strictly and written deterministically. Format: https://github.com/huggingface/safetensors#format.
// Values stay as they are on disk; the reader hands out bytes and converts fp16 and bf16 to FP32 on request.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "kernels/tensor.h"
#include "src/checkpoint/file_ops.h"

namespace nll {

struct NamedTensor {
  std::string name;
  Tensor tensor;  // host memory
};

struct SafetensorsEntry {
  DType type = DType::f32;
  std::vector<std::int64_t> shape;
  std::int64_t begin = 0, end = 0;  // bytes after the header
};

// A parsed header. Every rule of the format is checked (docs/formats.md lists them with their messages).
struct SafetensorsHeader {
  std::map<std::string, SafetensorsEntry> tensors;
  std::map<std::string, std::string> metadata;
  std::int64_t data_offset = 0;  // of the first tensor byte in the file
};
// `header` is the JSON text, `file_bytes` the size of the whole file. Throws Error(bad_data) naming `place`.
SafetensorsHeader parse_safetensors_header(std::string_view header, std::int64_t file_bytes, const std::string& place);
// Tensors in the order given, the header padded with spaces to 8 bytes.
std::string make_safetensors_header(const std::vector<NamedTensor>& tensors,
                                    const std::map<std::string, std::string>& metadata);

class SafetensorsFile {
 public:
  SafetensorsFile(FileOps& files, const std::string& path);
  ~SafetensorsFile();
  SafetensorsFile(SafetensorsFile&&) noexcept;
  const SafetensorsHeader& header() const { return header_; }
  // Reads one tensor into FP32 (or i32, f64) host memory; F16 and BF16 are widened. Shape must match.
  void read(const std::string& name, Tensor destination) const;

 private:
  FileOps* files_;
  std::string path_;
  int descriptor_ = -1;
  SafetensorsHeader header_;
};

}  // namespace nll
