// The tables of a byte-level BPE: what each id stands for, and the merges in the order in which they are preferred.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace nll {

struct BpeMerge {
  std::int32_t left = 0, right = 0;  // ids of two neighbours
  std::int32_t result = 0;           // id of both together
};

// What a pair of neighbouring ids becomes. The merge of the lowest rank goes first.
struct PairMerge {
  std::int32_t rank = -1;  // -1: the pair is never merged
  std::int32_t result = 0;
};

// Pair of ids -> PairMerge: open addressing in one array, because it is asked several times for every byte of text.
class PairTable {
 public:
  void build(const std::vector<BpeMerge>& merges);  // of a pair named twice the later rank holds
  PairMerge find(std::int32_t left, std::int32_t right) const {
    const std::uint64_t key = pair_key(left, right);
    for (std::size_t slot = slot_of(key);; slot = (slot + 1) & mask_) {
      if (slots_[slot].key == key) return slots_[slot].merge;
      if (slots_[slot].key == no_key) return {};
    }
  }
  static std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 | static_cast<std::uint32_t>(right);
  }

 private:
  static constexpr std::uint64_t no_key = ~std::uint64_t{0};
  struct Slot {
    std::uint64_t key = no_key;
    PairMerge merge;
  };
  std::size_t slot_of(std::uint64_t key) const { return (key * 0x9E3779B97F4A7C15u) >> shift_; }
  std::vector<Slot> slots_ = std::vector<Slot>(2);
  std::size_t mask_ = 1;
  int shift_ = 63;
};

// The most ids and merges that a vocabulary may have: far above any in use, and small enough to refuse nonsense early.
inline constexpr std::int64_t largest_vocabulary = 1 << 22;

struct BpeVocabulary {
  std::vector<std::string> tokens;  // bytes of each id; of a special token its name
  std::vector<bool> special;        // by id
  std::vector<BpeMerge> merges;     // by rank
  std::int32_t end_of_text = -1;    // id, or -1
  std::uint64_t hash = 0;           // xxh3 of all of the above
  std::array<std::int32_t, 256> byte_ids{};
  PairTable pairs;

  // Fills end_of_text, hash, byte_ids and pairs from the rest. Throws Error(bad_data), led by `place`, when two ids
  // stand for the same bytes or a byte has no id of its own.
  void index(const std::string& place);
};

// A vocabulary as files spell it: ids with their spellings, merges by spelling.
struct SpelledVocabulary {
  std::vector<std::pair<std::string, std::int64_t>> tokens;   // spelling, id
  std::vector<std::pair<std::string, std::string>> merges;    // spellings of left and right
  std::vector<std::pair<std::string, std::int64_t>> special;  // name, id; may repeat one of `tokens`
};

// Resolves the spellings. Throws Error(bad_data), led by the place of the tokens or of the merges, on duplicate ids,
// holes, spellings outside of the byte alphabet, merges that name or make unknown tokens, and sizes beyond
// largest_vocabulary.
BpeVocabulary resolve_vocabulary(const SpelledVocabulary& spelled, const std::string& place,
                                 const std::string& merges_place);

}  // namespace nll
