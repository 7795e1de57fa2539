#include "src/text/bpe_train.h"

#include <algorithm>
#include <queue>
#include <string>
#include <unordered_map>

#include "kernels/check.h"
#include "src/text/byte_alphabet.h"

namespace nll {
namespace {

struct Word {
  std::size_t begin = 0;   // in Trainer::symbols_
  std::size_t size = 0;    // symbols left
  std::int64_t count = 0;  // occurrences in the texts
};

struct PairStatistics {
  std::int64_t count = 0;
  std::vector<std::uint32_t> words;  // that have or had the pair; may repeat
};

struct Candidate {
  std::int64_t count = 0;
  std::uint64_t pair = 0;
  // The top of a priority_queue is the greatest: the largest count, then the smallest pair.
  bool operator<(const Candidate& other) const {
    return count != other.count ? count < other.count : pair > other.pair;
  }
};

class Trainer {
 public:
  explicit Trainer(const WordCounts& words) {
    std::array<std::int32_t, 256> id_of{};
    for (std::int32_t id = 0; id < 256; ++id) {
      const std::uint8_t byte = bytes_in_alphabet_order()[static_cast<std::size_t>(id)];
      id_of[byte] = id;
      vocabulary_.tokens.emplace_back(1, static_cast<char>(byte));
      ids_.emplace(vocabulary_.tokens.back(), id);
    }
    CHECK(words.size() < std::size_t{0xFFFFFFFF});
    words_.reserve(words.size());
    for (const auto& [piece, count] : words) {
      if (piece.size() < 2) continue;
      words_.push_back({symbols_.size(), piece.size(), count});
      for (const char c : piece) symbols_.push_back(id_of[static_cast<std::uint8_t>(c)]);
    }
    for (std::uint32_t w = 0; w < words_.size(); ++w) {
      const Word& word = words_[w];
      for (std::size_t i = 0; i + 1 < word.size; ++i) {
        change(symbols_[word.begin + i], symbols_[word.begin + i + 1], word.count, w);
      }
    }
    for (const auto& [pair, statistics] : pairs_) candidates_.push({statistics.count, pair});
    touched_.clear();
  }

  void grow(std::int64_t vocabulary, const std::function<void(std::int64_t tokens)>& report) {
    while (static_cast<std::int64_t>(vocabulary_.tokens.size()) < vocabulary && !candidates_.empty()) {
      const Candidate best = candidates_.top();
      candidates_.pop();
      const auto found = pairs_.find(best.pair);
      if (found == pairs_.end()) continue;
      if (found->second.count != best.count) {
        if (found->second.count > 0) candidates_.push({found->second.count, best.pair});
        continue;
      }
      if (best.count < 1) break;
      const std::vector<std::uint32_t> words = std::move(found->second.words);
      pairs_.erase(found);
      merge_everywhere(best.pair, words);
      if (report && vocabulary_.merges.size() % 64 == 0) report(static_cast<std::int64_t>(vocabulary_.tokens.size()));
    }
  }

  BpeVocabulary take() { return std::move(vocabulary_); }

 private:
  void change(std::int32_t left, std::int32_t right, std::int64_t by, std::uint32_t word) {
    const std::uint64_t pair = PairTable::pair_key(left, right);
    PairStatistics& statistics = pairs_[pair];
    statistics.count += by;
    if (by < 0) return;
    if (statistics.words.empty() || statistics.words.back() != word) statistics.words.push_back(word);
    touched_.push_back(pair);
  }

  // Two merges may make the same bytes: both then give the one id that stands for them.
  std::int32_t token_of(std::int32_t left, std::int32_t right) {
    std::string bytes = vocabulary_.tokens[static_cast<std::size_t>(left)];
    bytes += vocabulary_.tokens[static_cast<std::size_t>(right)];
    const auto [place, fresh] = ids_.emplace(std::move(bytes), static_cast<std::int32_t>(vocabulary_.tokens.size()));
    if (fresh) vocabulary_.tokens.push_back(place->first);
    return place->second;
  }

  void merge_everywhere(std::uint64_t pair, const std::vector<std::uint32_t>& words) {
    const auto left = static_cast<std::int32_t>(pair >> 32);
    const auto right = static_cast<std::int32_t>(pair & 0xFFFFFFFF);
    const std::int32_t both = token_of(left, right);
    vocabulary_.merges.push_back({left, right, both});
    touched_.clear();
    for (const std::uint32_t word : words) merge_in_word(word, left, right, both);
    pairs_.erase(pair);  // the counts that overlapping pairs ("aaa") leave behind
    std::sort(touched_.begin(), touched_.end());
    touched_.erase(std::unique(touched_.begin(), touched_.end()), touched_.end());
    for (const std::uint64_t key : touched_) {
      const auto found = pairs_.find(key);
      if (found != pairs_.end() && found->second.count > 0) candidates_.push({found->second.count, key});
    }
  }

  void merge_in_word(std::uint32_t w, std::int32_t left, std::int32_t right, std::int32_t both) {
    Word& word = words_[w];
    std::int32_t* const symbols = symbols_.data() + word.begin;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < word.size; ++kept) {
      if (symbols[i] != left || i + 1 == word.size || symbols[i + 1] != right) {
        symbols[kept] = symbols[i++];
        continue;
      }
      if (kept > 0) {
        change(symbols[kept - 1], left, -word.count, w);
        change(symbols[kept - 1], both, word.count, w);
      }
      if (i + 2 < word.size) {
        change(right, symbols[i + 2], -word.count, w);
        change(both, symbols[i + 2], word.count, w);
      }
      symbols[kept] = both;
      i += 2;
    }
    word.size = kept;
  }

  BpeVocabulary vocabulary_;
  std::unordered_map<std::string, std::int32_t> ids_;
  std::vector<std::int32_t> symbols_;  // of all words
  std::vector<Word> words_;
  std::unordered_map<std::uint64_t, PairStatistics> pairs_;
  std::priority_queue<Candidate> candidates_;
  std::vector<std::uint64_t> touched_;  // pairs whose count grew in this merge
};

}  // namespace

BpeVocabulary learn_merges(const WordCounts& words, std::int64_t vocabulary,
                           const std::function<void(std::int64_t tokens)>& report) {
  CHECK(vocabulary >= 256);
  Trainer trainer(words);
  trainer.grow(vocabulary, report);
  return trainer.take();
}

}  // namespace nll
