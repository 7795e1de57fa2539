// How often each piece of the pre-tokenizer occurs in some texts: all that training a BPE needs to know of them.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <unordered_map>

#include "src/text/pretokenizer.h"

namespace nll {

struct PieceHash {
  std::size_t operator()(std::string_view piece) const;
};

// The keys point into the texts they were counted in.
using WordCounts = std::unordered_map<std::string_view, std::int64_t, PieceHash>;

// Counts on `threads` threads. report(about how many bytes are done) comes from the calling thread; may throw to stop.
WordCounts count_words(const Pretokenizer& pretokenizer, std::span<const std::string_view> texts, int threads,
                       const std::function<void(std::int64_t bytes)>& report);

}  // namespace nll
