// Where a corpus is parted into training and validation text.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace nll {

// The input offset, counted over all files, at which validation begins: the documents' boundary nearest to `fraction`
// of the bytes from the end, if between half and twice of that fraction lies behind it; else the first line of a plain
// text there. 0 < fraction < 1. Throws Error(bad_data) where there is no such place.
std::int64_t find_validation_cut(const std::vector<std::string>& paths, double fraction);

}  // namespace nll
