#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "src/checkpoint/file_io.h"
#include "src/checkpoint/half.h"
#include "src/checkpoint/quoted.h"
#include "src/checkpoint/safetensors.h"

static_assert(std::endian::native == std::endian::little, "safetensors holds little-endian values");

namespace nll {
namespace {

template <class From, class To, class Widen>
void convert(const std::vector<char>& from, std::int64_t count, To* to, const Widen& widen) {
  for (std::int64_t i = 0; i < count; ++i) {
    From value;
    std::memcpy(&value, from.data() + i * static_cast<std::int64_t>(sizeof(From)), sizeof(From));
    to[i] = static_cast<To>(widen(value));
  }
}

template <class To>
void convert_piece(const std::vector<char>& from, DType type, std::int64_t count, To* to) {
  if (type == DType::f16) convert<std::uint16_t>(from, count, to, widen_f16);
  if (type == DType::bf16) convert<std::uint16_t>(from, count, to, widen_bf16);
  if (type == DType::f32) convert<float>(from, count, to, [](float value) { return value; });
}

bool can_widen(DType from, DType to) {
  if (from == to) return true;
  const bool half = from == DType::f16 || from == DType::bf16;
  return (half && (to == DType::f32 || to == DType::f64)) || (from == DType::f32 && to == DType::f64);
}

bool same_shape(const std::vector<std::int64_t>& shape, const Tensor& tensor) {
  if (shape.empty() && tensor.rank() == 1) return tensor.dim(0) == 1;
  if (static_cast<int>(shape.size()) != tensor.rank()) return false;
  for (int i = 0; i < tensor.rank(); ++i) {
    if (shape[static_cast<std::size_t>(i)] != tensor.dim(i)) return false;
  }
  return true;
}

std::string_view wanted_name(DType type) {
  switch (type) {
    case DType::f32:
      return "F32, F16 or BF16";
    case DType::f64:
      return "F64, F32, F16 or BF16";
    case DType::bf16:
      return "BF16";
    case DType::f16:
      return "F16";
    case DType::i32:
      return "I32";
    case DType::u8:
      return "U8";
  }
  return {};
}

}  // namespace

struct SafetensorsFile::Part {
  OpenFile file;
  std::int64_t data_offset = 0;
};

SafetensorsFile::SafetensorsFile(FileOps& files, const std::string& path) { open_part(files, path); }

SafetensorsFile::SafetensorsFile(FileOps& files, const std::vector<std::string>& paths) {
  CHECK(paths.size() > 0U);
  for (const std::string& path : paths) open_part(files, path);
}

SafetensorsFile::~SafetensorsFile() = default;
SafetensorsFile::SafetensorsFile(SafetensorsFile&&) noexcept = default;

void SafetensorsFile::open_part(FileOps& files, const std::string& path) {
  const auto fail = [&](const std::string& what) { throw Error(Exit::bad_data, path + ": " + what); };
  OpenedFile opened = open_regular_file(files, path);
  if (opened.error != 0) {
    // The cache of Hugging Face's downloader is made of links.
    const char* hint = opened.error == -ELOOP ? "copy the folder with `cp -rL` and name the copy" : "";
    throw Error(Exit::bad_data, path + ": " + open_error_text(opened.error), hint);
  }
  if (opened.bytes < 8) fail(fmt::format("{} bytes (a safetensors file has at least 8)", opened.bytes));
  std::uint64_t header_bytes = 0;
  read_exactly(opened.file, &header_bytes, 8, 0);
  if (header_bytes == 0) fail("header size 0 (expected at least 2)");
  if (header_bytes > static_cast<std::uint64_t>(safetensors_max_header_bytes)) {
    fail(fmt::format("header size {} (the format allows at most {})", header_bytes, safetensors_max_header_bytes));
  }
  if (header_bytes > static_cast<std::uint64_t>(opened.bytes - 8)) {
    fail(fmt::format("header size {} (the file has {} bytes after it)", header_bytes, opened.bytes - 8));
  }
  std::string text(header_bytes, '\0');
  read_exactly(opened.file, text.data(), static_cast<std::int64_t>(header_bytes), 8);
  SafetensorsHeader parsed = parse_safetensors_header(text, opened.bytes, path);

  const int part = static_cast<int>(parts_.size());
  if (part == 0) header_.data_offset = parsed.data_offset;
  for (auto& [name, entry] : parsed.tensors) {
    entry.part = part;
    const auto [place, is_new] = header_.tensors.emplace(name, std::move(entry));
    if (!is_new) {
      const auto before = static_cast<std::size_t>(place->second.part);
      fail(fmt::format("tensor {}: also in {}", quoted_text(name), parts_[before].file.path()));
    }
  }
  header_.metadata.merge(parsed.metadata);
  parts_.push_back({std::move(opened.file), parsed.data_offset});
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  names.reserve(header_.tensors.size());
  for (const auto& [name, entry] : header_.tensors) names.push_back(name);
  return names;
}

const SafetensorsEntry& SafetensorsFile::find(const std::string& name) const {
  const auto found = header_.tensors.find(name);
  if (found == header_.tensors.end()) {
    throw Error(Exit::bad_data, fmt::format("{}: tensor {} is missing", parts_.front().file.path(), quoted_text(name)));
  }
  return found->second;
}

void SafetensorsFile::fail(const std::string& name, const SafetensorsEntry& entry, const std::string& what) const {
  const std::string& path = parts_[static_cast<std::size_t>(entry.part)].file.path();
  throw Error(Exit::bad_data, fmt::format("{}: tensor {}: {}", path, quoted_text(name), what));
}

void SafetensorsFile::read(const std::string& name, Tensor destination) const {
  const SafetensorsEntry& entry = find(name);
  if (!same_shape(entry.shape, destination)) {
    fail(name, entry, fmt::format("shape ({}) (expected {})", fmt::join(entry.shape, ", "), destination.shape_text()));
  }
  read_values(name, entry, 0, destination);
}

void SafetensorsFile::read_elements(const std::string& name, std::int64_t first, Tensor destination) const {
  CHECK(destination.rank() == 1);
  const SafetensorsEntry& entry = find(name);
  std::int64_t elements = 1;
  for (const std::int64_t dim : entry.shape) elements *= dim;
  CHECK(first >= 0);
  CHECK(destination.size() <= elements - first);
  read_values(name, entry, first, destination);
}

void SafetensorsFile::read_values(const std::string& name, const SafetensorsEntry& entry, std::int64_t first,
                                  Tensor destination) const {
  if (!entry.readable || !can_widen(entry.type, destination.type())) {
    fail(name, entry, fmt::format("dtype {} (expected {})", entry.dtype, wanted_name(destination.type())));
  }
  const Part& part = parts_[static_cast<std::size_t>(entry.part)];
  const std::int64_t width = bytes_of(entry.type), elements = destination.size();
  const std::int64_t begin = part.data_offset + entry.begin + first * width;
  if (entry.type == destination.type()) {
    read_exactly(part.file, destination.data(), elements * width, begin);
    return;
  }
  constexpr std::int64_t piece_elements = 1 << 18;
  std::vector<char> piece(static_cast<std::size_t>(std::min(piece_elements, elements) * width));
  for (std::int64_t done = 0; done < elements; done += piece_elements) {
    const std::int64_t count = std::min(piece_elements, elements - done);
    read_exactly(part.file, piece.data(), count * width, begin + done * width);
    if (destination.type() == DType::f32) convert_piece(piece, entry.type, count, destination.as<float>() + done);
    if (destination.type() == DType::f64) convert_piece(piece, entry.type, count, destination.as<double>() + done);
  }
}

}  // namespace nll
