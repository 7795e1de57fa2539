// CRC-32C (Castagnoli, RFC 3720 B.4), which TensorBoard's files are checked by.
#pragma once
#include <cstdint>
#include <string_view>

namespace nll {

std::uint32_t crc32c(std::string_view bytes);

}  // namespace nll
