// Gold windows: pieces of a text that are looked at closely where all of it would take too long.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/check.h"
#include "src/text/token_files.h"

namespace nll {

using GoldWindow = std::vector<std::int32_t>;

// Up to `count` windows of `length` tokens, or of as many as the longest file has where that is fewer. They do not
// overlap, each lies in one file, and they are spread evenly over the dataset. Throws Error(bad_data) where no file has
// 3 tokens: one to begin with, and one before the one to predict.
std::vector<GoldWindow> gold_windows(const TokenDataset& dataset, std::int64_t length, std::int64_t count);

// The same, but they may overlap, so that there are `count` of them wherever the text has as many beginnings.
std::vector<GoldWindow> overlapping_windows(const TokenDataset& dataset, std::int64_t length, std::int64_t count);

}  // namespace nll
