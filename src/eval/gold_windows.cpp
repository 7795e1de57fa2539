#include "src/eval/gold_windows.h"

#include <algorithm>

namespace nll {

std::vector<GoldWindow> gold_windows(const TokenDataset& dataset, std::int64_t length, std::int64_t count) {
  CHECK(length >= 2);
  CHECK(count >= 1);
  std::int64_t longest = 0;
  for (const TokenFile& file : dataset.files()) longest = std::max(longest, file.info().tokens);
  if (longest < 3) throw Error(Exit::bad_data, "the text has too few tokens (expected at least 3 in a file)");
  length = std::min(length, longest);
  std::int64_t all = 0;  // windows of the dataset
  for (const TokenFile& file : dataset.files()) all += file.info().tokens / length;
  count = std::min(count, all);

  std::vector<GoldWindow> windows;
  std::int64_t first = 0;  // window of the file at hand
  for (const TokenFile& file : dataset.files()) {
    const std::int64_t end = first + file.info().tokens / length;
    for (;;) {
      const std::int64_t made = static_cast<std::int64_t>(windows.size());
      if (made == count) return windows;
      // made * all / count without its product, which may pass 63 bits
      const std::int64_t next = all / count * made + all % count * made / count;
      if (next >= end) break;
      GoldWindow& window = windows.emplace_back(static_cast<std::size_t>(length));
      file.read((next - first) * length, window, dataset.vocabulary());
    }
    first = end;
  }
  return windows;
}

}  // namespace nll
