// Safetensors, read strictly and written deterministically. Format: https://github.com/huggingface/safetensors#format.
// Values stay as they are on disk; the reader hands out bytes and converts fp16 and bf16 to FP32 on request.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/tensor.h"
#include "src/checkpoint/file_ops.h"

namespace nll {

struct NamedTensor {
  std::string name;
  Tensor tensor;  // host memory
  // Of a slice, whose name ends in "@<first element>" and which has one dimension: the shape of the whole tensor.
  std::vector<std::int64_t> whole{};
};

struct SafetensorsEntry {
  DType type = DType::f32;
  std::vector<std::int64_t> shape;
  std::int64_t begin = 0, end = 0;  // bytes after the header
  std::string dtype = "F32";        // as the header names it
  bool readable = true;             // `type` holds it; otherwise (I64, BOOL, ...) it can be listed but not read
  int part = 0;                     // which file of a sharded model holds it
};

// A parsed header. Every rule of the format is checked (docs/checkpoints.md lists them).
struct SafetensorsHeader {
  std::map<std::string, SafetensorsEntry> tensors;
  std::map<std::string, std::string> metadata;
  std::int64_t data_offset = 0;  // of the first tensor byte in the file
};
constexpr std::int64_t safetensors_max_header_bytes = 100'000'000;  // the format's own limit
// `header` is the JSON text, `file_bytes` the size of the whole file. Throws Error(bad_data) naming `place`.
SafetensorsHeader parse_safetensors_header(std::string_view header, std::int64_t file_bytes, const std::string& place);
// Tensors in the order given, the header padded with spaces to 8 bytes.
std::string make_safetensors_header(const std::vector<NamedTensor>& tensors,
                                    const std::map<std::string, std::string>& metadata);

// An open file, or the files of a sharded model read as one. Only the headers are held in memory.
class SafetensorsFile {
 public:
  // Error(bad_data) names the file and the rule it breaks, Error(io) what could not be read.
  SafetensorsFile(FileOps& files, const std::string& path);
  // Several files as one; a tensor in two of them is an error. header().data_offset is that of the first.
  SafetensorsFile(FileOps& files, const std::vector<std::string>& paths);
  ~SafetensorsFile();
  SafetensorsFile(SafetensorsFile&&) noexcept;
  const SafetensorsHeader& header() const { return header_; }
  std::vector<std::string> names() const;  // sorted
  bool has(const std::string& name) const { return header_.tensors.contains(name); }
  // Reads one tensor into host memory: FP32 from F32, F16 and BF16; FP64 from these and F64; i32 from I32; u8 from U8;
  // bf16 and f16 from the same. The shape must match, scalars as () or (1). Error(bad_data) names file and tensor.
  void read(const std::string& name, Tensor destination) const;
  // The same of the elements from `first` on, counted in memory's order; `destination` has one dimension.
  void read_elements(const std::string& name, std::int64_t first, Tensor destination) const;

 private:
  struct Part;
  const SafetensorsEntry& find(const std::string& name) const;
  [[noreturn]] void fail(const std::string& name, const SafetensorsEntry& entry, const std::string& what) const;
  void read_values(const std::string& name, const SafetensorsEntry& entry, std::int64_t first,
                   Tensor destination) const;
  void open_part(FileOps& files, const std::string& path);
  std::vector<Part> parts_;
  SafetensorsHeader header_;
};

}  // namespace nll
