#include "src/text/bpe_vocabulary.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <memory>
#include <string_view>
#include <unordered_map>

#include "kernels/check.h"
#include "src/config/quote.h"
#include "src/text/byte_alphabet.h"

namespace nll {
namespace {

[[noreturn]] void refuse(const std::string& place, const std::string& what) {
  throw Error(Exit::bad_data, place + ": " + what);
}

std::uint64_t hash_of(const BpeVocabulary& vocabulary) {
  const std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state(XXH3_createState(), XXH3_freeState);
  CHECK(state.get() != nullptr);
  XXH3_64bits_reset(state.get());
  const auto add = [&](std::uint64_t number) {
    std::uint8_t bytes[8];  // little-endian on any machine: the hash is stored in files
    for (int i = 0; i < 8; ++i) bytes[i] = static_cast<std::uint8_t>(number >> (8 * i));
    XXH3_64bits_update(state.get(), bytes, sizeof bytes);
  };
  add(vocabulary.tokens.size());
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    add(vocabulary.tokens[id].size() << 1 | (vocabulary.special[id] ? 1 : 0));
    XXH3_64bits_update(state.get(), vocabulary.tokens[id].data(), vocabulary.tokens[id].size());
  }
  add(vocabulary.merges.size());
  for (const BpeMerge& merge : vocabulary.merges) add(PairTable::pair_key(merge.left, merge.right));
  return XXH3_64bits_digest(state.get());
}

}  // namespace

void PairTable::build(const std::vector<BpeMerge>& merges) {
  const std::size_t size = std::bit_ceil(std::max<std::size_t>(2, merges.size() * 2 + 1));
  slots_.assign(size, Slot{});
  mask_ = size - 1;
  shift_ = 64 - std::countr_zero(size);
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const std::uint64_t key = pair_key(merges[rank].left, merges[rank].right);
    std::size_t slot = slot_of(key);
    while (slots_[slot].key != no_key && slots_[slot].key != key) slot = (slot + 1) & mask_;
    slots_[slot] = {key, {static_cast<std::int32_t>(rank), merges[rank].result}};
  }
}

void BpeVocabulary::index(const std::string& place) {
  CHECK(tokens.size() == special.size());
  std::unordered_map<std::string_view, std::int32_t> ids;
  ids.reserve(tokens.size());
  byte_ids.fill(-1);
  for (std::int32_t id = 0; id < static_cast<std::int32_t>(tokens.size()); ++id) {
    const std::string& bytes = tokens[static_cast<std::size_t>(id)];
    if (special[static_cast<std::size_t>(id)]) continue;
    const auto [first, fresh] = ids.emplace(bytes, id);
    if (!fresh) refuse(place, fmt::format("tokens {} and {} are both {}", first->second, id, in_quotes(bytes)));
    if (bytes.size() == 1) byte_ids[static_cast<std::uint8_t>(bytes[0])] = id;
  }
  for (std::size_t byte = 0; byte < byte_ids.size(); ++byte) {
    if (byte_ids[byte] >= 0) continue;
    refuse(place, fmt::format("no token for the byte 0x{:02x} (a byte-level vocabulary has all 256)", byte));
  }
  end_of_text = -1;
  for (const std::string_view name : {"<|endoftext|>", "<|end_of_text|>", "</s>"}) {
    for (std::size_t id = 0; id < tokens.size() && end_of_text < 0; ++id) {
      if (special[id] && tokens[id] == name) end_of_text = static_cast<std::int32_t>(id);
    }
  }
  pairs.build(merges);
  hash = hash_of(*this);
}

namespace {

// Puts the special tokens and then the others at their ids, and sees to it that each id is taken once.
void place_tokens(const SpelledVocabulary& spelled, const std::string& place, BpeVocabulary& vocabulary) {
  std::unordered_map<std::string_view, std::int64_t> special_ids, ids;
  for (const auto& [name, id] : spelled.special) special_ids.emplace(name, id);
  std::size_t count = spelled.special.size();
  for (const auto& [spelling, id] : spelled.tokens) count += special_ids.contains(spelling) ? 0 : 1;
  if (static_cast<std::int64_t>(count) > largest_vocabulary) {
    refuse(place, fmt::format("{} tokens (at most {})", count, largest_vocabulary));
  }
  std::vector<const std::string*> owner(count, nullptr);
  vocabulary.tokens.resize(count);
  vocabulary.special.assign(count, false);
  const auto take = [&](const std::string& spelling, std::int64_t id) {
    if (id < 0 || id >= static_cast<std::int64_t>(count)) {
      refuse(place, fmt::format("token {} has id {} (the {} tokens must have the ids 0 to {})", in_quotes(spelling), id,
                                count, count - 1));
    }
    const std::string*& holder = owner[static_cast<std::size_t>(id)];
    if (holder != nullptr) {
      refuse(place, fmt::format("id {} is both {} and {}", id, in_quotes(*holder), in_quotes(spelling)));
    }
    holder = &spelling;
  };
  for (const auto& [name, id] : spelled.special) {
    take(name, id);
    vocabulary.tokens[static_cast<std::size_t>(id)] = name;
    vocabulary.special[static_cast<std::size_t>(id)] = true;
  }
  for (const auto& [spelling, id] : spelled.tokens) {
    const auto special = special_ids.find(spelling);
    if (special != special_ids.end()) {
      if (special->second == id) continue;
      refuse(place, fmt::format("special token {} has the ids {} and {}", in_quotes(spelling), id, special->second));
    }
    take(spelling, id);
    if (!read_spelling(spelling, vocabulary.tokens[static_cast<std::size_t>(id)])) {
      refuse(place, fmt::format("token {} {} is not written in the byte alphabet (only byte-level BPE is read)", id,
                                in_quotes(spelling)));
    }
    if (spelling.empty()) refuse(place, fmt::format("token {} is empty", id));
  }
}

}  // namespace

BpeVocabulary resolve_vocabulary(const SpelledVocabulary& spelled, const std::string& place,
                                 const std::string& merges_place) {
  BpeVocabulary vocabulary;
  place_tokens(spelled, place, vocabulary);
  if (static_cast<std::int64_t>(spelled.merges.size()) > largest_vocabulary) {
    refuse(merges_place, fmt::format("{} merges (at most {})", spelled.merges.size(), largest_vocabulary));
  }
  std::unordered_map<std::string_view, std::int32_t> ids;
  ids.reserve(spelled.tokens.size());
  for (const auto& [spelling, id] : spelled.tokens) {
    if (!vocabulary.special[static_cast<std::size_t>(id)]) ids.emplace(spelling, static_cast<std::int32_t>(id));
  }
  vocabulary.merges.reserve(spelled.merges.size());
  for (std::size_t rank = 0; rank < spelled.merges.size(); ++rank) {
    const std::string& left = spelled.merges[rank].first;
    const std::string& right = spelled.merges[rank].second;
    const auto id_of = [&](const std::string& spelling, const char* verb) {
      const auto found = ids.find(spelling);
      if (found != ids.end()) return found->second;
      refuse(merges_place, fmt::format("merge {} ({} + {}) {} the unknown token {}", rank, in_quotes(left),
                                       in_quotes(right), verb, in_quotes(spelling)));
    };
    const std::int32_t left_id = id_of(left, "names"), right_id = id_of(right, "names");
    vocabulary.merges.push_back({left_id, right_id, id_of(left + right, "makes")});
  }
  vocabulary.index(place);
  return vocabulary;
}

}  // namespace nll
