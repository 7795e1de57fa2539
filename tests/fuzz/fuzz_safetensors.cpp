// Input: 8 bytes that say how much the file holds after its header, then the header's JSON text.
// Claim: it is refused as bad data, or every tensor lies inside the file, is as long as its shape and type say, and no
// two overlap.
#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "src/checkpoint/safetensors.h"
#include "tests/fuzz/fuzz_target.h"

namespace {

// Bytes of one element, from the type's name: "BF16" is 16 bits, "BOOL" a byte. Types nll cannot read count too.
std::int64_t bytes_of_name(const std::string& dtype) {
  return dtype == "BOOL" ? 1 : std::stoll(dtype.substr(dtype.find_first_of("0123456789"))) / 8;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nll;
  std::uint64_t tail = 0;
  if (size < sizeof tail) return 0;
  std::memcpy(&tail, data, sizeof tail);
  const std::string_view text = fuzz::text_of(data + sizeof tail, size - sizeof tail);
  const std::int64_t file_bytes = 8 + static_cast<std::int64_t>(text.size()) + static_cast<std::int64_t>(tail >> 8);
  SafetensorsHeader header;
  if (!fuzz::takes_or_refuses({Exit::bad_data},
                              [&] { header = parse_safetensors_header(text, file_bytes, "fuzz.safetensors"); })) {
    return 0;
  }
  const std::int64_t data_bytes = file_bytes - header.data_offset;
  fuzz::require(header.data_offset == 8 + static_cast<std::int64_t>(text.size()), "the data begins after the header");
  std::vector<std::pair<std::int64_t, std::int64_t>> spans;
  for (const auto& [name, entry] : header.tensors) {
    fuzz::require(entry.begin >= 0, "a tensor begins inside the file");
    fuzz::require(entry.begin <= entry.end, "a tensor ends after it begins");
    fuzz::require(entry.end <= data_bytes, "a tensor ends inside the file");
    std::int64_t bytes = bytes_of_name(entry.dtype);
    for (std::int64_t dim : entry.shape) bytes = checked_product(bytes, dim);
    fuzz::require(bytes == entry.end - entry.begin, "a tensor is as long as its shape says");
    spans.emplace_back(entry.begin, entry.end);
  }
  std::sort(spans.begin(), spans.end());
  for (std::size_t i = 1; i < spans.size(); ++i)
    fuzz::require(spans[i - 1].second <= spans[i].first, "no two tensors overlap");
  return 0;
}
