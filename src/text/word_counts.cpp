#include "src/text/word_counts.h"

#include <xxhash.h>

#include <algorithm>
#include <vector>

#include "src/text/thread_team.h"

namespace nll {
namespace {

constexpr std::size_t chunk_bytes = std::size_t{1} << 20;

std::vector<std::string_view> safe_chunks(std::span<const std::string_view> texts) {
  std::vector<std::string_view> chunks;
  for (std::string_view text : texts) {
    while (!text.empty()) {
      const std::size_t cut = safe_cut_after(text, std::min(chunk_bytes, text.size()));
      chunks.push_back(text.substr(0, cut));
      text.remove_prefix(cut);
    }
  }
  return chunks;
}

}  // namespace

std::size_t PieceHash::operator()(std::string_view piece) const { return XXH3_64bits(piece.data(), piece.size()); }

WordCounts count_words(const Pretokenizer& pretokenizer, std::span<const std::string_view> texts, int threads,
                       const std::function<void(std::int64_t bytes)>& report) {
  const std::vector<std::string_view> chunks = safe_chunks(texts);
  // Each worker fills its own table; the sum over them does not depend on who counted what.
  std::vector<WordCounts> counts(static_cast<std::size_t>(std::max(1, threads)));
  const auto count_chunk = [&](std::size_t worker, std::size_t chunk) {
    Pretokenizer::Scanner scanner(pretokenizer, chunks[chunk]);
    for (std::string_view piece; scanner.next(piece);) ++counts[worker][piece];
  };
  for_each_item(chunks.size(), threads, count_chunk, [&](std::size_t finished) {
    if (report) report(static_cast<std::int64_t>(finished * chunk_bytes));
  });
  WordCounts total = std::move(counts[0]);
  for (std::size_t worker = 1; worker < counts.size(); ++worker) {
    for (const auto& [piece, count] : counts[worker]) total[piece] += count;
  }
  return total;
}

}  // namespace nll
