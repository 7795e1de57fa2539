// Turns the bytes of a piece into ids by merging neighbours, lowest rank first and leftmost among equals.
// Short pieces scan their few pairs again and again; long ones keep the pairs in a heap: O(n log n) at worst.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "src/text/bpe_vocabulary.h"

namespace nll {

// One worker's scratch and its memory of pieces already seen. Not for sharing between threads.
class BpeEncoder {
 public:
  // `text_bytes`: how much text is to come, which bounds the memory given to remembered pieces.
  BpeEncoder(const BpeVocabulary& vocabulary, std::size_t text_bytes);
  void append(std::string_view piece, std::vector<std::int32_t>& ids);

 private:
  static constexpr std::size_t remembered_bytes = 24, remembered_ids = 8;
  // A direct-mapped cache: a piece that hashes to a slot replaces what was there.
  struct Remembered {
    std::uint8_t bytes = 0, ids = 0;
    char piece[remembered_bytes];
    std::int32_t id[remembered_ids];
  };
  void merge_by_scanning(std::string_view piece, std::vector<std::int32_t>& ids);
  void merge_by_heap(std::string_view piece, std::vector<std::int32_t>& ids);

  const BpeVocabulary& vocabulary_;
  std::vector<Remembered> remembered_;
  std::vector<PairMerge> merges_;      // of each symbol with its right neighbour
  std::vector<std::int32_t> symbols_;  // ids of the piece so far
  std::vector<std::uint32_t> next_, previous_;
  std::vector<std::uint64_t> heap_;  // rank << 32 | position
};

}  // namespace nll
