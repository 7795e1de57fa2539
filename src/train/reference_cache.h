// The file that keeps sums of a reference model's log-probabilities:
//   "nllrefs1", key, records, bytes of the content, XXH3 of the content; 8 bytes each, little-endian
//   content: for each record the number of its sequences (4 bytes each), then all sums (FP64)
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "src/train/reference_sums.h"

namespace nll {

struct ReferenceCache {
  std::vector<std::uint32_t> widths;  // sequences of each record
  std::vector<double> sums;           // of record 0 by role, of record 1, ...

  std::string content() const;
  // Throws Error(bad_data) where it is not what content() gives of so many records, or a sum is not finite.
  static ReferenceCache parse(const std::string& content, std::int64_t records);
  // The file has its name only when it is whole. Throws Error(io).
  void write(const std::string& path, std::uint64_t key) const;
  // Throws Error(bad_data) with what is wrong with it: made from something else, damaged.
  static ReferenceCache read(const std::string& path, std::uint64_t key, std::int64_t records);
};

// How many records a request asks for.
std::int64_t reference_records(const ReferenceSums::Request& request);

}  // namespace nll
