// Batch: what the trainer is given for one micro-batch, whatever the text came from.
#pragma once
#include <cstdint>
#include <vector>

namespace nll {

// B sequences of T positions, row major. The target of position t is the token that follows it, or ignore_index.
struct Batch {
  std::int64_t sequences = 0;         // B
  std::int64_t context = 0;           // T
  std::vector<std::int32_t> tokens;   // (B,T)
  std::vector<std::int32_t> targets;  // (B,T)
  std::int64_t valid_tokens() const;  // targets that are not ignored
};

}  // namespace nll
