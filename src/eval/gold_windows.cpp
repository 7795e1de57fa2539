#include "src/eval/gold_windows.h"

#include <algorithm>

namespace nll {

namespace {

// Windows that begin at multiples of `pace` of their file.
std::vector<GoldWindow> spread_windows(const TokenDataset& dataset, std::int64_t length, std::int64_t count,
                                       bool overlapping) {
  CHECK(length >= 2);
  CHECK(count >= 1);
  std::int64_t longest = 0;
  for (const TokenFile& file : dataset.files()) longest = std::max(longest, file.info().tokens);
  if (longest < 3) throw Error(Exit::bad_data, "the text has too few tokens (expected at least 3 in a file)");
  length = std::min(length, longest);
  const std::int64_t pace = overlapping ? 1 : length;
  const auto windows_of = [&](const TokenFile& file) {
    return file.info().tokens < length ? 0 : (file.info().tokens - length) / pace + 1;
  };
  std::int64_t all = 0;  // windows of the dataset
  for (const TokenFile& file : dataset.files()) all += windows_of(file);
  count = std::min(count, all);

  std::vector<GoldWindow> windows;
  std::int64_t first = 0;  // window of the file at hand
  for (const TokenFile& file : dataset.files()) {
    const std::int64_t end = first + windows_of(file);
    for (;;) {
      const std::int64_t made = static_cast<std::int64_t>(windows.size());
      if (made == count) return windows;
      // made * all / count without its product, which may pass 63 bits
      const std::int64_t next = all / count * made + all % count * made / count;
      if (next >= end) break;
      GoldWindow& window = windows.emplace_back(static_cast<std::size_t>(length));
      file.read((next - first) * pace, window, dataset.vocabulary());
    }
    first = end;
  }
  return windows;
}

}  // namespace

std::vector<GoldWindow> gold_windows(const TokenDataset& dataset, std::int64_t length, std::int64_t count) {
  return spread_windows(dataset, length, count, false);
}

std::vector<GoldWindow> overlapping_windows(const TokenDataset& dataset, std::int64_t length, std::int64_t count) {
  return spread_windows(dataset, length, count, true);
}

}  // namespace nll
