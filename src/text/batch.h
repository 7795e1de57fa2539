// Batch: what the trainer is given for one micro-batch, whatever the text came from.
#pragma once
#include <cstdint>
#include <vector>

namespace nll {

// What an objective of records must know of one sequence; its tokens beyond the target mask.
struct SequenceInfo {
  std::int64_t record = -1;        // index of the record in its file's order; -1: a filler without targets
  std::int32_t role = 0;           // 0: chosen, positive, or the only one; k: the k-th rejected or negative
  bool label = true;               // unpaired records: desirable
  double margin = 0;               // reward model: of the pair
  std::int64_t prompt_tokens = 0;  // leading tokens that are given
  std::int64_t tokens = 0;         // in all, padding not counted; predicted are tokens [prompt_tokens, tokens)
};

// B sequences of T positions, row major. The target of position t is the token that follows it, or ignore_index.
struct Batch {
  std::int64_t sequences = 0;                 // B
  std::int64_t context = 0;                   // T
  std::vector<std::int32_t> tokens;           // (B,T)
  std::vector<std::int32_t> targets;          // (B,T)
  std::vector<SequenceInfo> sequence_info{};  // (B) of records; empty: plain text
  std::int64_t valid_tokens() const;          // targets that are not ignored
};

}  // namespace nll
