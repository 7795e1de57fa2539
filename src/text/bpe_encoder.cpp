#include "src/text/bpe_encoder.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <limits>

#include "kernels/check.h"

namespace nll {
namespace {

constexpr std::size_t longest_scanned = 48;  // bytes; beyond it the heap is faster on text that merges much
constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

}  // namespace

BpeEncoder::BpeEncoder(const BpeVocabulary& vocabulary, std::size_t text_bytes)
    : vocabulary_(vocabulary),
      // 2^15 slots (1.9 MB) stay in a core's own cache and hold the words that make up nearly all of a text.
      remembered_(std::bit_ceil(std::clamp<std::size_t>(text_bytes / 8, 16, std::size_t{1} << 15))) {}

void BpeEncoder::append(std::string_view piece, std::vector<std::int32_t>& ids) {
  if (piece.size() > remembered_bytes) {
    if (piece.size() > longest_scanned) return merge_by_heap(piece, ids);
    return merge_by_scanning(piece, ids);
  }
  Remembered& slot = remembered_[XXH3_64bits(piece.data(), piece.size()) & (remembered_.size() - 1)];
  if (slot.bytes == piece.size() && std::memcmp(slot.piece, piece.data(), piece.size()) == 0) {
    ids.insert(ids.end(), slot.id, slot.id + slot.ids);
    return;
  }
  const std::size_t before = ids.size();
  merge_by_scanning(piece, ids);
  const std::size_t count = ids.size() - before;
  if (count > remembered_ids) return;
  slot.bytes = static_cast<std::uint8_t>(piece.size());
  slot.ids = static_cast<std::uint8_t>(count);
  std::memcpy(slot.piece, piece.data(), piece.size());
  std::copy(ids.begin() + static_cast<std::ptrdiff_t>(before), ids.end(), slot.id);
}

void BpeEncoder::merge_by_scanning(std::string_view piece, std::vector<std::int32_t>& ids) {
  symbols_.clear();
  for (const char c : piece) symbols_.push_back(vocabulary_.byte_ids[static_cast<std::uint8_t>(c)]);
  merges_.clear();
  for (std::size_t i = 0; i + 1 < symbols_.size(); ++i) {
    merges_.push_back(vocabulary_.pairs.find(symbols_[i], symbols_[i + 1]));
  }
  while (!merges_.empty()) {
    // As unsigned numbers "no merge" (-1) is the largest rank.
    const auto best = std::min_element(merges_.begin(), merges_.end(), [](const PairMerge& a, const PairMerge& b) {
      return static_cast<std::uint32_t>(a.rank) < static_cast<std::uint32_t>(b.rank);
    });
    if (best->rank < 0) break;
    const std::size_t at = static_cast<std::size_t>(best - merges_.begin());
    symbols_[at] = best->result;
    symbols_.erase(symbols_.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    merges_.erase(best);
    if (at > 0) merges_[at - 1] = vocabulary_.pairs.find(symbols_[at - 1], symbols_[at]);
    if (at < merges_.size()) merges_[at] = vocabulary_.pairs.find(symbols_[at], symbols_[at + 1]);
  }
  ids.insert(ids.end(), symbols_.begin(), symbols_.end());
}

void BpeEncoder::merge_by_heap(std::string_view piece, std::vector<std::int32_t>& ids) {
  if (piece.size() >= none) {
    throw Error(Exit::bad_data,
                fmt::format("text: {} bytes without a place to split (at most {})", piece.size(), none));
  }
  const auto size = static_cast<std::uint32_t>(piece.size());
  symbols_.resize(size);
  merges_.assign(size, PairMerge{});
  next_.resize(size);
  previous_.resize(size);
  heap_.clear();
  const auto later = std::greater<std::uint64_t>();  // the heap's front is the lowest rank, then the leftmost
  const auto look_up = [&](std::uint32_t at) {
    merges_[at] = next_[at] == none ? PairMerge{} : vocabulary_.pairs.find(symbols_[at], symbols_[next_[at]]);
    if (merges_[at].rank >= 0) heap_.push_back(static_cast<std::uint64_t>(merges_[at].rank) << 32 | at);
    return merges_[at].rank >= 0;
  };
  for (std::uint32_t i = 0; i < size; ++i) {
    symbols_[i] = vocabulary_.byte_ids[static_cast<std::uint8_t>(piece[i])];
    next_[i] = i + 1 < size ? i + 1 : none;
    previous_[i] = i > 0 ? i - 1 : none;
  }
  for (std::uint32_t i = 0; i < size; ++i) look_up(i);
  std::make_heap(heap_.begin(), heap_.end(), later);
  while (!heap_.empty()) {
    std::pop_heap(heap_.begin(), heap_.end(), later);
    const auto at = static_cast<std::uint32_t>(heap_.back());
    const auto rank = static_cast<std::int32_t>(heap_.back() >> 32);
    heap_.pop_back();
    if (merges_[at].rank != rank) continue;  // this pair has changed since
    const std::uint32_t gone = next_[at];
    symbols_[at] = merges_[at].result;
    next_[at] = next_[gone];
    if (next_[at] != none) previous_[next_[at]] = at;
    merges_[gone].rank = -1;
    if (look_up(at)) std::push_heap(heap_.begin(), heap_.end(), later);
    if (previous_[at] != none && look_up(previous_[at])) std::push_heap(heap_.begin(), heap_.end(), later);
  }
  for (std::uint32_t at = 0; at != none; at = next_[at]) ids.push_back(symbols_[at]);
}

}  // namespace nll
