// Announcement: what a rank tells each of the others before the bytes of an operation, so that a rank that skipped or
// repeated one is noticed there and then, even where the sizes happen to be the same.
#pragma once
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string>

#include "src/dist/transport.h"

namespace nll {

enum class OperationKind : std::int32_t { all_to_all = 1, all_gather, broadcast, exchange };

// Plain data, the same layout on all ranks.
struct Announcement {
  std::array<char, 32> name{};  // of the operation, cut to fit; ends with 0
  std::int64_t step = -1, bucket = -1;
  std::int64_t bytes = 0;  // that follow
  OperationKind kind = OperationKind::exchange;
  std::int32_t root = -1;

  Announcement() = default;
  Announcement(OperationKind of_kind, const Operation& operation, int from_root)
      : step(operation.step), bucket(operation.bucket), kind(of_kind), root(from_root) {
    std::memcpy(name.data(), operation.name, std::min(std::strlen(operation.name), name.size() - 1));
  }
  bool operator==(const Announcement&) const = default;

  // "reduce-scatter of bucket 3 in step 17"
  std::string text() const {
    std::string result(name.data(), strnlen(name.data(), name.size()));
    if (bucket >= 0) result += fmt::format(" of bucket {}", bucket);
    if (step >= 0) result += fmt::format(" in step {}", step);
    return result;
  }
};

}  // namespace nll
